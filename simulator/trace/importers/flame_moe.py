"""FLAME-MoE-Traces: a folder ``actives/iter_N`` of ``layer_NN.parquet``, a row a token.

``indices`` holds the 6 routed experts and ``scores`` their softmax over all 64, best first; rows of
all files, and of ``samples/*.parquet`` (``token_id``) two folders up, belong to the same tokens in
the same order. Layers are counted from 1, as Megatron does. The stream was cut from pretraining
batches and states no bounds of documents, so it is one sequence. Source: the data set's card,
huggingface.co/datasets/CMU-FLAME/FLAME-MoE-Traces.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.errors import InputError
from simulator.trace.core import Trace
from simulator.trace.header import build_header
from simulator.trace.importers.arrays import as_ids, weights_kind
from simulator.trace.importers.limits import check_size
from simulator.trace.importers.options import ImportOptions, phases
from simulator.trace.importers.parquet_columns import lists, names_of, read_columns

N_EXPERTS = 64
TYPES = {
    "indices": ("list int16", "list int32", "list int64", "list uint8"),
    "scores": ("list halffloat", "list float"),
}
TOKEN_ID = {"token_id": ("int32", "int64")}


def sniff(path: Path) -> bool:
    """Tell whether this is a folder of layer_NN.parquet with indices and scores."""
    files = _layer_files(path)
    return bool(files) and set(TYPES) <= set(names_of(min(files.values())))


def read(path: Path, options: ImportOptions) -> Trace:
    """Return the trace of a checkpoint's folder; teacher-forced, prefill unless ``phase`` says else."""
    where, choice = str(path), options.phase or "prefill"
    files = _layer_files(path)
    if not files:
        raise InputError(where, "no layer_NN.parquet here", "give a folder actives/iter_N")
    numbers = sorted(files)
    if numbers[0] < 1:
        raise InputError(where, "a layer_00.parquet", "layers are counted from 1")
    parts: list[dict[str, npt.NDArray[Any]]] = []
    for number in numbers:
        columns = read_columns(files[number], TYPES)
        part = {name: lists(column, str(files[number])) for name, column in columns.items()}
        first = parts[0]["indices"].shape if parts else part["indices"].shape
        if not part["indices"].shape == part["scores"].shape == first:
            what = f"{part['indices'].shape} experts, {part['scores'].shape} scores"
            raise InputError(str(files[number]), what, f"{first} in all files of {path.name}")
        parts.append(part)
        check_size(where, sum(values.nbytes for values in part.values()) * len(files))
    experts = as_ids(np.stack([part["indices"] for part in parts], axis=1), where)
    weights = np.stack([part["scores"] for part in parts], axis=1)
    n_tokens, n_layers, k = experts.shape
    sequence = np.zeros(n_tokens, dtype=np.int32)
    model = re.match(r"flame-moe-[\w.]+", path.resolve().parent.parent.name)
    header = build_header(
        where,
        model=options.model or (model[0] if model else "flame-moe"),
        n_layers=n_layers,
        n_experts=options.n_experts or N_EXPERTS,
        top_k=k,
        moe_layers=[number - 1 for number in numbers],
        n_model_layers=numbers[-1],
        weights=weights_kind(experts, weights, where),
        phase_source=f"teacher-forced, imported as {choice}",
        recorder=f"FLAME-MoE ({path.resolve().name})",
        prompt_source="pretraining batches",
        licence=options.licence or "Apache-2.0 if published by CMU-FLAME/FLAME-MoE-Traces",
        notes="the source states no bounds of documents: one sequence",
    )
    return Trace(
        header,
        sequence,
        np.arange(n_tokens, dtype=np.int32),
        phases(choice, sequence),
        experts,
        weights,
        token_id=_token_ids(path, n_tokens),
        source=where,
    )


def _layer_files(path: Path) -> dict[int, Path]:
    """Return the files of a folder by the number of their layer."""
    matches = ((re.fullmatch(r"layer_(\d{1,4})\.parquet", file.name), file) for file in path.glob("*"))
    return {int(match[1]): file for match, file in matches if match}


def _token_ids(path: Path, n_tokens: int) -> npt.NDArray[np.int32] | None:
    """Return the first ids [T] of samples/*.parquet beside actives/, None without that folder."""
    folder = path.resolve().parent.parent / "samples"
    ids: list[npt.NDArray[np.int32]] = []
    for file in sorted(folder.glob("*.parquet")):
        if sum(map(len, ids)) < n_tokens:
            column = read_columns(file, TOKEN_ID)["token_id"]
            ids.append(column.to_numpy(zero_copy_only=False).astype(np.int32))
    if not ids:
        return None
    found = np.concatenate(ids)[:n_tokens]
    if len(found) < n_tokens:
        raise InputError(str(folder), f"{len(found)} tokens", f"{n_tokens}, as the layers have")
    return found
