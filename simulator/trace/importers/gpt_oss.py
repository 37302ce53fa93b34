"""GPT-OSS routing by GPT-OSS-MoE-ExpertFingerprinting: its JSON, and an npz of many of them.

Only decoded tokens were routed through the recorder, so every token is decode and positions start
after the prompt. Weights are a softmax over the chosen k, rank order.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from simulator.errors import InputError
from simulator.trace.core import DECODE, Trace, TraceHeader
from simulator.trace.header import build_header
from simulator.trace.importers.arrays import Row, as_ids, as_int32, dense_rows, token_columns, weights_kind
from simulator.trace.importers.limits import brief
from simulator.trace.importers.npy import load_npz, npz_names
from simulator.trace.importers.options import ImportOptions
from simulator.trace.importers.text import first_json, json_files

MODELS = {24: ("gpt-oss-20b", 32), 36: ("gpt-oss-120b", 128)}
NPZ_SHAPES = {"ids": 3, "weights": 3, "seq": 1, "pos": 1}


def sniff_json(path: Path) -> bool:
    """Tell whether this is a fingerprint JSON, or a folder of them, by the fields that it begins with."""
    return {b"row_index", b"dataset", b"category", b"finished_successfully"} <= set(
        first_json(path).split(b'"')
    )


def sniff_npz(path: Path) -> bool:
    """Tell whether this is an npz with the arrays of the decoded tokens, and no other axes to ask for."""
    return set(NPZ_SHAPES) <= npz_names(path)


def read_json(path: Path, options: ImportOptions) -> Trace:
    """Return the trace of a fingerprint JSON, or of a folder of them, a sequence each."""
    where, tokens, order, prompts = str(path), [], [], []
    for run, (name, content) in enumerate(json_files(path)):
        try:
            for entry in content["router_data"]:
                ((token, layers),) = entry.items()
                order.append((run, _number("token", token)))
                tokens.append({_number("layer", layer): _row(row) for layer, row in layers.items()})
            prompts.append(f"{content['dataset']}/{content['category']} row {content['row_index']}")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                name, f"not a fingerprint JSON ({brief(error)})", "router_data: token_N: layer_L"
            ) from error
    layers = sorted({layer for token in tokens for layer in token})
    experts, weights = dense_rows(tokens, layers, where)
    header = _header(where, options, layers, experts, weights, "; ".join(prompts))
    sequence, position = token_columns(order, where)
    phase = np.full(len(tokens), DECODE, dtype=np.uint8)
    return Trace(header, sequence, position, phase, experts, weights, source=where)


def read_npz(path: Path, options: ImportOptions) -> Trace:
    """Return the trace of ``ids[T,L,k] weights[T,L,k] seq[T] pos[T]`` (and ``dataset[S]``)."""
    where, arrays = str(path), load_npz(path)
    for name, dimensions in NPZ_SHAPES.items():
        if name not in arrays or arrays[name].ndim != dimensions:
            raise InputError(
                where, f"no array '{name}' of {dimensions} axes", "or use --format npz with --axes"
            )
    experts, weights = as_ids(arrays["ids"], where), arrays["weights"]
    datasets = sorted({str(name).split("/")[0] for name in np.atleast_1d(arrays.get("dataset", [])).flat})
    layers = list(range(experts.shape[1]))
    header = _header(where, options, layers, experts, weights, ", ".join(datasets) or None)
    sequence, position = as_int32(arrays["seq"], "seq", where), as_int32(arrays["pos"], "pos", where)
    phase = np.full(len(experts), DECODE, dtype=np.uint8)
    return Trace(header, sequence, position, phase, experts, weights, source=where)


def _header(
    where: str, options: ImportOptions, layers: list[int], experts: Any, weights: Any, prompts: str | None
) -> TraceHeader:
    """Return the header; the model follows from the number of layers unless it is named."""
    model, n_experts = MODELS.get(len(layers), (None, None))
    if not (options.model or model) or not (options.n_experts or n_experts):
        raise InputError(
            where, f"{len(layers)} layers are no GPT-OSS model", "name it: --model and --n-experts"
        )
    return build_header(
        where,
        model=options.model or model,
        n_layers=len(layers),
        n_experts=options.n_experts or n_experts,
        top_k=experts.shape[2],
        moe_layers=layers,
        n_model_layers=layers[-1] + 1,
        weights=weights_kind(experts, weights, where),
        phase_source="recorded: decoded tokens only, the prompt's routing was not recorded",
        recorder="GPT-OSS-MoE-ExpertFingerprinting",
        prompt_source=prompts,
        licence=options.licence
        or "Apache-2.0 if published by AmanPriyanshu/GPT-OSS-MoE-ExpertFingerprinting",
    )


def _number(word: str, text: str) -> int:
    """Return N of ``word_N``."""
    match = re.fullmatch(rf"{word}_(0|[1-9][0-9]{{0,8}})", text)
    if not match:
        raise ValueError(f"'{brief(text)}' is not {word}_N")
    return int(match[1])


def _row(row: dict[str, Any]) -> Row:
    """Return experts and weights of one token and layer."""
    return row["selected_experts"], row["selected_probs"]
