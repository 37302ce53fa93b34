"""Refuse a header that contradicts itself, and arrays that contradict the header."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.errors import InputError
from simulator.trace.core import Trace, TraceHeader

MOST_EXPERTS = int(np.iinfo(np.int16).max)


BY_LAYER = ("moe_layers", "expert_bytes", "expert_tensor_bytes", "dense_bytes")
"""Fields of the header that have one entry a MoE layer."""


def check_header(header: TraceHeader, where: str) -> None:
    """Check that the header's numbers and lists agree with each other."""
    for name in BY_LAYER:
        values = getattr(header, name)
        if values is not None and len(values) != header.n_layers:
            hint = f"one for each of {header.n_layers} MoE layers"
            raise InputError(where, f"header: {name} has {len(values)} entries", hint)
    if header.expert_tensor_bytes is not None:
        _check_tensors(header.expert_bytes, header.expert_tensor_bytes, where)
    layers, last = header.moe_layers, header.n_model_layers - 1
    if any(b <= a for a, b in pairwise(layers)):
        raise InputError(where, "header: moe_layers are not in ascending order", "each model layer once")
    if layers[0] < 0 or layers[-1] > last:
        what = f"header: moe_layers go from {layers[0]} to {layers[-1]}"
        raise InputError(where, what, f"allowed: 0..{last} (n_model_layers {last + 1})")
    if header.n_experts > MOST_EXPERTS:
        raise InputError(where, f"header: n_experts {header.n_experts}", f"at most {MOST_EXPERTS}")
    if header.top_k > header.n_experts:
        raise InputError(where, f"header: top_k {header.top_k}", f"at most n_experts {header.n_experts}")


def _check_tensors(
    expert_bytes: tuple[int, ...] | None, tensors: tuple[tuple[int, ...], ...], where: str
) -> None:
    """Check that an expert's tensors make up the expert, in each layer."""
    if expert_bytes is None:
        raise InputError(where, "header: expert_tensor_bytes without expert_bytes", "both, or none")
    for layer, (whole, sizes) in enumerate(zip(expert_bytes, tensors, strict=True)):
        if sum(sizes) != whole:
            what = f"header: expert_tensor_bytes of layer {layer} are {sum(sizes)} bytes in all"
            raise InputError(where, what, f"those of expert_bytes: {whole}")


def check_shapes(trace: Trace, where: str) -> None:
    """Check presence, shape and dtype of every array."""
    if trace.n_tokens == 0:
        raise InputError(where, "no tokens", "a trace has at least one")
    token = (trace.n_tokens,)
    row = (*token, trace.header.n_layers, trace.header.top_k)
    gates = (*row[:2], 2 * trace.header.top_k)
    ids, floats = ("int16",), ("float16", "float32")
    expected: list[tuple[str, npt.NDArray[Any] | None, tuple[int, ...], tuple[str, ...]]] = [
        ("sequence", trace.sequence, token, ("int32",)),
        ("position", trace.position, token, ("int32",)),
        ("phase", trace.phase, token, ("uint8",)),
        ("token_id", trace.token_id, token, ("int32",)),
        ("experts", trace.experts, row, ids),
        ("weights", trace.weights, row, floats),
        *((f"predicted_{d}", a, row, ids) for d, a in enumerate(trace.predicted, start=1)),
        *((f"predicted_weights_{d}", a, row, floats) for d, a in enumerate(trace.predicted_weights, start=1)),
        ("gate_top", trace.gate_top, gates, ids),
        ("gate_top_p", trace.gate_top_p, gates, floats),
        ("recorded_resident", trace.recorded_resident, row, ("int8",)),
        ("recorded_bytes", trace.recorded_bytes, row, ("int64",)),
    ]
    for name, array, shape, dtypes in expected:
        if array is not None and array.shape != shape:
            raise InputError(where, f"{name} has shape {array.shape}", f"tokens and header make it {shape}")
        if array is not None and array.dtype.name not in dtypes:
            raise InputError(where, f"{name} is {array.dtype}", "allowed: " + ", ".join(dtypes))
    _check_pairs(trace, where)


def _check_pairs(trace: Trace, where: str) -> None:
    """Check that arrays which belong together are there together."""
    kind, there = trace.header.weights, trace.weights is not None
    if there == (kind == "none"):
        has = "there are weights" if there else "there are none"
        raise InputError(where, f"header: weights is '{kind}' but {has}", "make them agree")
    if trace.predicted_weights and len(trace.predicted_weights) != len(trace.predicted):
        what = f"{len(trace.predicted_weights)} predicted_weights for {len(trace.predicted)} predicted"
        raise InputError(where, what, "as many, or none")
    if (trace.gate_top is None) != (trace.gate_top_p is None):
        raise InputError(where, "only one of gate_top and gate_top_p is there", "both, or none")
