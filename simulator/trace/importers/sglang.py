"""SGLang's expert-distribution recorder in per_token mode: a .pt a rank, a record a forward pass.

A record has input_ids and positions [n], extend_seq_lens (None when decoding), forward_mode (1 EXTEND, 2
DECODE, 3 MIXED) and topk_ids_of_layer [layers, n, slots], -1 in unused slots and dense layers; slots are 8
or more, whatever the model's k. Ids are those of physical experts, and last_physical_to_logical_map
[layers, physical] leads to the model's. Requests have no names: see ``batches``. Ranks that recorded the
same tokens are one data-parallel rank's, and the first of them is read. Source:
python/sglang/srt/eplb/expert_distribution.py of github.com/sgl-project/sglang.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.errors import InputError
from simulator.trace.core import DECODE, MISSING, PREFILL, Trace
from simulator.trace.header import build_header
from simulator.trace.importers.arrays import as_ids
from simulator.trace.importers.batches import Batch
from simulator.trace.importers.limits import check_file, check_size
from simulator.trace.importers.options import ImportOptions
from simulator.trace.importers.sglang_records import HOW, Pass, read_rank
from simulator.trace.importers.text import head

FILES = "expert_distribution_recorder_*.pt"
Ints = npt.NDArray[Any]


def sniff(path: Path) -> bool:
    """Tell whether the recorder wrote this, or the first such file of a folder, by the first names in it."""
    first = head(min(path.glob(FILES), default=path))
    return any(
        all(name in first for name in names)
        for names in ((b"forward_pass_id", b"gatherer_key"), (b"logical_count", b"average_utilization_rate"))
    )


def read(path: Path, options: ImportOptions) -> Trace:
    """Return the trace of a file, or of a folder with a file a rank."""
    where = str(path)
    files = sorted(path.glob(FILES)) if path.is_dir() else [path]
    if not files:
        raise InputError(where, f"no {FILES} in this folder", HOW)
    check_size(where, sum(check_file(file) for file in files))
    ranks: dict[bytes, list[Pass]] = {}
    n_experts, shapes = 0, set()
    for file in files:
        passes, n_of_file = read_rank(file)
        n_experts = max(n_experts, n_of_file)
        shapes |= {one.experts.shape[1:] for one in passes}
        ranks.setdefault(_fingerprint(passes), passes)
    if len(shapes) != 1:
        raise InputError(
            where, f"passes of layers x slots {sorted(shapes)}", "one model's, and at least one pass"
        )
    sequence, phase = _place(list(ranks.values()))
    joined = [one for passes in ranks.values() for one in passes]
    order = np.argsort(sequence, kind="stable")
    experts = np.concatenate([one.experts for one in joined])[order]
    used = experts != MISSING
    layers, slots = used.any(axis=(0, 2)), used.any(axis=(0, 1))
    experts = as_ids(experts[:, layers][:, :, slots], where)
    header = build_header(
        where,
        model=options.model or "unknown",
        n_layers=experts.shape[1],
        n_experts=n_experts,
        top_k=experts.shape[2],
        moe_layers=np.flatnonzero(layers).tolist(),
        n_model_layers=len(layers),
        recorder="SGLang expert-distribution recorder (per_token)",
        licence=options.licence,
        notes="sequences were rebuilt from positions; tokens of cached prefixes are absent; "
        "physical experts by the map at the end of the recording",
    )
    return Trace(
        header,
        sequence[order],
        np.concatenate([one.position for one in joined])[order],
        phase[order],
        experts,
        token_id=np.concatenate([one.token_id for one in joined])[order],
        source=where,
    )


def _place(ranks: list[list[Pass]]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    """Return sequence and phase [T] of all tokens; each rank's sequences come after those of the last."""
    sequences: list[Ints] = []
    phases: list[Ints] = []
    batch = Batch()
    for passes in ranks:
        batch = Batch(batch.n_sequences)
        for one in passes:
            firsts = np.cumsum(one.lengths) - one.lengths
            numbers = batch.take(one.position[firsts].tolist(), one.lengths, one.n_decoded)
            phase = [PREFILL] * (len(numbers) - one.n_decoded) + [DECODE] * one.n_decoded
            sequences.append(np.repeat(numbers, one.lengths))
            phases.append(np.repeat(phase, one.lengths))
    return np.concatenate(sequences).astype(np.int32), np.concatenate(phases).astype(np.uint8)


def _fingerprint(passes: list[Pass]) -> bytes:
    """Return what ranks share that recorded the same tokens."""
    digest = hashlib.sha256()
    for one in passes:
        digest.update(bytes(one.mode) + one.token_id.tobytes() + b"," + one.position.tobytes())
    return digest.digest()
