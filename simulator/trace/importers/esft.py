"""Routing text of deepseek-ai/ESFT: a folder of ``expert_weights_LAYER.txt``.

A line is a whole sequence: k expert ids for each token (in no order), two tabs, as many weights
(softmax over all experts), separated by tabs. Teacher-forced; prefill unless ``phase`` says else.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from simulator.errors import InputError
from simulator.trace.core import Trace
from simulator.trace.header import build_header
from simulator.trace.importers.arrays import as_ids, weights_kind
from simulator.trace.importers.limits import TEXT_EXPANSION, brief, check_file, check_size
from simulator.trace.importers.options import ImportOptions, index_in_sequence, phases

MODEL, N_EXPERTS, TOP_K = "DeepSeek-V2-Lite", 64, 6


def read(path: Path, options: ImportOptions) -> Trace:
    """Return the trace of a folder; DeepSeek-V2-Lite (64 experts, k 6) unless options say else."""
    where, k, choice = str(path), options.top_k or TOP_K, options.phase or "prefill"
    if k < 1:
        raise InputError("--top-k", f"{k}", "1 or more")
    files = {int(match[1]): file for file in path.glob("*") if (match := _layer(file))}
    if not files:
        raise InputError(where, "no expert_weights_LAYER.txt here", "give the folder that holds them")
    layers = sorted(files)
    check_size(where, sum(check_file(file, TEXT_EXPANSION) for file in files.values()))
    parts = [_read_layer(files[layer], k) for layer in layers]
    for layer, (_, _, lengths) in zip(layers, parts, strict=True):
        if lengths != parts[0][2]:
            hint = f"{len(lengths)} sequences of the same lengths in each"
            raise InputError(str(files[layer]), f"other sequences than in {files[layers[0]].name}", hint)
    sequence = np.repeat(np.arange(len(parts[0][2])), parts[0][2]).astype(np.int32)
    experts = as_ids(np.stack([ids for ids, _, _ in parts], axis=1), where)
    weights = np.stack([values for _, values, _ in parts], axis=1)
    header = build_header(
        where,
        model=options.model or MODEL,
        n_layers=len(layers),
        n_experts=options.n_experts or N_EXPERTS,
        top_k=k,
        moe_layers=layers,
        n_model_layers=layers[-1] + 1,
        weights=weights_kind(experts, weights, where),
        phase_source=f"teacher-forced, imported as {choice}",
        recorder="ESFT",
        prompt_source=f"ESFT task '{path.resolve().name}'",
        licence=options.licence or "MIT (code) and DeepSeek model licence if published by deepseek-ai/ESFT",
    )
    return Trace(
        header,
        sequence,
        index_in_sequence(sequence),
        phases(choice, sequence),
        experts,
        weights,
        source=where,
    )


def sniff(path: Path) -> bool:
    """Tell whether this is a folder of expert_weights_LAYER.txt."""
    return any(_layer(file) for file in path.glob("*"))


def _layer(file: Path) -> re.Match[str] | None:
    """Match a layer's file by name."""
    return re.fullmatch(r"expert_weights_(\d{1,4})\.txt", file.name)


def _read_layer(file: Path, k: int) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Return ids and weights [T, k] of a layer, and the tokens of each sequence."""
    ids, weights, lengths = [], [], []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        left, gap, right = line.partition("\t\t")
        line_ids, line_weights = left.split("\t"), right.split("\t")
        if not gap or len(line_ids) != len(line_weights) or len(line_ids) % k:
            what = f"not {k} ids and {k} weights a token"
            raise InputError(f"{file} line {number}", what, "ids, two tabs, weights")
        try:
            ids.append(np.array([int(word) for word in line_ids], dtype=np.int64))
            with np.errstate(over="ignore"):
                weights.append(np.array([float(word) for word in line_weights]).astype(np.float32))
        except (ValueError, OverflowError) as error:
            hint = "ids are whole numbers, weights decimals"
            raise InputError(f"{file} line {number}", brief(str(error)), hint) from error
        lengths.append(len(line_ids) // k)
    if not ids:
        raise InputError(str(file), "no routed tokens", "a trace has at least one")
    return np.concatenate(ids).reshape(-1, k), np.concatenate(weights).reshape(-1, k), lengths
