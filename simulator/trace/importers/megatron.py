"""Megatron-core's routing trace: a folder of router_trace_rankN.jsonl, or one of them.

A line is a layer of a step: {"step", "stage", "block", "layer", "rank", "num_tokens", "topk", "top_indices"},
top_indices [num_tokens][topk]. Lines of multi-token-prediction heads (``mtp_idx``) are left out. A layer
that comes again in a step is the next microbatch. Which tokens of a microbatch follow each other is not
recorded, so each microbatch is one sequence. Ranks with the same routing are tensor-parallel copies, of
which the first is read. Files of versions without ``block`` count layers from 1. Source:
megatron/core/transformer/moe/router_trace.py of github.com/NVIDIA/Megatron-LM.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.errors import InputError
from simulator.trace.core import MISSING, Trace
from simulator.trace.header import build_header
from simulator.trace.importers.arrays import as_ids
from simulator.trace.importers.generic import model_fields
from simulator.trace.importers.limits import TEXT_EXPANSION, brief, check_file, check_size
from simulator.trace.importers.options import ImportOptions, index_in_sequence, phases
from simulator.trace.importers.text import head, parse_json

FILES = "router_trace_rank*.jsonl"
NUMBERS = ("step", "layer", "num_tokens", "topk")
MOST = 2**31 - 1
SLOT_BYTES = 4  # of a slot in the dense array, beside the lines' own
Microbatch = dict[int, npt.NDArray[np.int16]]


def sniff(path: Path) -> bool:
    """Tell whether Megatron-core wrote this, or the first such file of a folder, by the keys of a line."""
    first = head(min(path.glob(FILES), default=path))
    return all(f'"{key}":'.encode() in first for key in (*NUMBERS, "rank", "top_indices"))


def read(path: Path, options: ImportOptions) -> Trace:
    """Return the trace, prefill unless ``phase`` says else. Needs ``n_experts`` or a known ``model``."""
    where, choice = str(path), options.phase or "prefill"
    files = sorted(path.glob(FILES)) if path.is_dir() else [path]
    if not files:
        raise InputError(where, f"no {FILES} in this folder", "the folder of --moe-routing-trace-path")
    check_size(where, sum(check_file(file, TEXT_EXPANSION) for file in files))
    ranks: dict[bytes, list[Microbatch]] = {}
    stages: set[tuple[int, ...]] = set()
    for file in files:
        rank = _read_rank(file)
        stages.add(tuple(sorted({layer for batch in rank for layer in batch})))
        ranks.setdefault(_fingerprint(rank), rank)
    if len(stages) > 1:
        raise InputError(where, "ranks with other layers than others", "import each pipeline stage by itself")
    batches = [batch for rank in ranks.values() for batch in rank]
    layers = stages.pop()
    lengths = [len(next(iter(batch.values()))) for batch in batches]
    widths = {rows.shape[1] for batch in batches for rows in batch.values()}
    if len(widths) != 1:
        raise InputError(where, f"topk {sorted(widths)}", "one in all lines, and at least one line")
    k = widths.pop()
    check_size(where, sum(lengths) * len(layers) * k * SLOT_BYTES)
    experts = np.full((sum(lengths), len(layers), k), MISSING, dtype=np.int16)
    ends = np.cumsum(lengths)
    for batch, begin, end in zip(batches, ends - lengths, ends, strict=True):
        for layer, rows in batch.items():
            experts[begin:end, layers.index(layer)] = rows
    sequence = np.repeat(np.arange(len(batches), dtype=np.int32), lengths)
    header = build_header(
        where,
        **model_fields(where, options, layers, "a routing trace"),
        top_k=k,
        phase_source=f"teacher-forced, imported as {choice}",
        recorder="Megatron-core routing trace",
        notes="the source states no bounds of texts: each microbatch is one sequence",
    )
    return Trace(
        header, sequence, index_in_sequence(sequence), phases(choice, sequence), experts, source=where
    )


def _read_rank(file: Path) -> list[Microbatch]:
    """Return the microbatches of a file, by step, those without tokens left out."""
    batches: dict[tuple[int, int], Microbatch] = {}
    times: Counter[tuple[int, int]] = Counter()
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            place = f"{file} line {number}"
            record = parse_json(line, place)
            if not isinstance(record, dict):
                raise InputError(place, "no object", "a layer of a step: " + ", ".join(NUMBERS))
            if record.get("mtp_idx") is not None:
                continue
            step, layer, rows = _read_line(record, place)
            batch = batches.setdefault((step, times[step, layer]), {})
            times[step, layer] += 1
            n_tokens = len(next(iter(batch.values()), rows))
            if len(rows) != n_tokens:
                raise InputError(place, f"{len(rows)} tokens", f"{n_tokens}, as the layers before")
            batch[layer] = rows
    return [batch for _, batch in sorted(batches.items()) if len(next(iter(batch.values())))]


def _read_line(record: dict[str, Any], place: str) -> tuple[int, int, npt.NDArray[np.int16]]:
    """Return step, layer counted from 0, and experts [n, k]. Errors: InputError (numbers that do not fit)."""
    for name in NUMBERS:
        value = record.get(name)
        if type(value) is not int or not 0 <= value <= MOST:
            raise InputError(place, f"{name} is {brief(repr(value))}", f"a number up to {MOST}")
    rows, shape = record.get("top_indices"), (record["num_tokens"], record["topk"])
    try:
        values = np.array(rows) if rows != [] else np.empty((0, shape[1]), dtype=np.int16)
    except (ValueError, OverflowError) as error:
        raise InputError(place, f"top_indices: {brief(str(error))}", "lists of experts") from error
    if values.shape != shape:
        raise InputError(place, f"top_indices of shape {values.shape}", f"num_tokens x topk = {shape}")
    layer = record["layer"] - ("block" not in record)
    if layer < 0:
        raise InputError(place, "layer 0", "without 'block', layers are counted from 1")
    return record["step"], layer, as_ids(values, place) if values.size else values.astype(np.int16)


def _fingerprint(batches: list[Microbatch]) -> bytes:
    """Return what ranks share that recorded the same routing."""
    digest = hashlib.sha256()
    for batch in batches:
        for layer, rows in batch.items():
            digest.update(f"{layer} {rows.shape} ".encode() + rows.tobytes())
    return digest.digest()
