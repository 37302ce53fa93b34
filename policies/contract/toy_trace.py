"""A small trace that offers everything a policy may need.

It has 4 MoE layers of 8 experts, 2 a token. Each of 3 sequences has 2 prompt tokens and 5 decoded ones.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from simulator.trace.core import DECODE, PREFILL, Trace, TraceHeader

N_LAYERS, N_EXPERTS, TOP_K = 4, 8, 2
N_SEQUENCES, N_PROMPT, N_DECODED = 3, 2, 5
Number = TypeVar("Number", np.int16, np.float32)
REACH = 3
"""How many layers ahead the trace has predictions."""


def trace(seed: int = 0, n_layers: int = N_LAYERS) -> Trace:
    """Return the small trace; another seed draws other experts and weights of the same shape."""
    draw = np.random.default_rng(seed)
    n_tokens = N_SEQUENCES * (N_PROMPT + N_DECODED)
    place = np.arange(n_tokens) % (N_PROMPT + N_DECODED)
    scores = draw.random((n_tokens, n_layers, N_EXPERTS)) * np.linspace(2, 1, N_EXPERTS)
    ranked = np.argsort(-scores, axis=2).astype(np.int16)
    shares = np.take_along_axis(scores, ranked.astype(np.intp), axis=2).astype(np.float32)
    shares /= shares.sum(axis=2, keepdims=True)
    experts, chosen = ranked[:, :, :TOP_K], shares[:, :, :TOP_K]
    weights = chosen / chosen.sum(axis=2, keepdims=True)
    header = TraceHeader(
        model="toy",
        n_layers=n_layers,
        n_experts=N_EXPERTS,
        top_k=TOP_K,
        moe_layers=tuple(range(n_layers)),
        n_model_layers=n_layers,
        weights="renormalised",
        recorder="policies.contract",
        synthetic=True,
    )
    return Trace(
        header,
        sequence=(np.arange(n_tokens) // (N_PROMPT + N_DECODED)).astype(np.int32),
        position=place.astype(np.int32),
        phase=np.where(place < N_PROMPT, PREFILL, DECODE).astype(np.uint8),
        experts=experts,
        weights=weights,
        predicted=tuple(_ahead(experts, ahead, -1) for ahead in range(1, REACH + 1)),
        predicted_weights=tuple(_ahead(weights, ahead, 0) for ahead in range(1, REACH + 1)),
        gate_top=ranked[:, :, : 2 * TOP_K],
        gate_top_p=shares[:, :, : 2 * TOP_K],
        token_id=draw.integers(0, 1000, n_tokens).astype(np.int32),
        recorded_resident=draw.integers(0, 2, experts.shape).astype(np.int8),
    )


def _ahead(values: npt.NDArray[Number], ahead: int, nothing: int) -> npt.NDArray[Number]:
    """Return what each layer says of the one so many layers ahead; ``nothing`` past the last."""
    found = np.full_like(values, nothing)
    found[:, :-ahead] = values[:, ahead:]
    return found
