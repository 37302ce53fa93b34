"""A trace in numbers: its size, and how much routing repeats and concentrates."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.trace.core import DECODE, MISSING, PREFILL, Ids, Trace


def summary(trace: Trace) -> dict[str, Any]:
    """Return what ``moesim trace info`` shows, ready for JSON.

    ``lag1_reuse`` and ``top_share`` hold one number over all tokens and one for each phase (None
    where there is nothing to count).
    """
    header = trace.header
    tokens = {
        "all": np.ones(trace.n_tokens, dtype=np.bool_),
        "prefill": trace.phase == PREFILL,
        "decode": trace.phase == DECODE,
    }
    missing = trace.experts[:, :, 0] == MISSING
    total = sum(header.expert_bytes) * header.n_experts if header.expert_bytes else None
    return {
        "source": trace.source,
        "tokens": trace.n_tokens,
        "prefill_tokens": int(tokens["prefill"].sum()),
        "decode_tokens": int(tokens["decode"].sum()),
        "sequences": len(np.unique(trace.sequence)),
        "layers": header.n_layers,
        "experts": header.n_experts,
        "top_k": header.top_k,
        "missing_rows": int(missing.sum()),
        "predicted_layers_ahead": len(trace.predicted),
        "offers": sorted(trace.offers()),
        "lag1_reuse": {name: lag1_reuse(trace, mask) for name, mask in tokens.items()},
        "top_share": {name: top_share(trace, mask) for name, mask in tokens.items()},
        "all_experts_bytes": total,
        "all_dense_bytes": sum(header.dense_bytes) if header.dense_bytes else None,
        "header": header.model_dump(mode="json"),
    }


def lag1_reuse(trace: Trace, tokens: npt.NDArray[np.bool_]) -> float | None:
    """Return the mean over layers and neighbouring tokens of a sequence of |E_t and E_t+1| / k.

    ``tokens`` [T] marks those that count; a pair counts if both do and the layer has both rows.
    """
    pairs = (trace.sequence[1:] == trace.sequence[:-1]) & (np.diff(trace.position) == 1)
    pairs &= tokens[1:] & tokens[:-1]
    before, after = trace.experts[:-1][pairs], trace.experts[1:][pairs]
    there = (before[:, :, 0] != MISSING) & (after[:, :, 0] != MISSING)
    if not there.any():
        return None
    shared = _shared(before[there], after[there])
    return float(shared / (there.sum() * trace.header.top_k))


def top_share(trace: Trace, tokens: npt.NDArray[np.bool_]) -> float | None:
    """Return the mean over layers of the uses taken by the ceil(E / 10) most used experts."""
    n_experts = trace.header.n_experts
    shares = []
    for layer in range(trace.header.n_layers):
        ids = trace.experts[tokens, layer]
        uses = np.sort(np.bincount(ids[ids != MISSING], minlength=n_experts))
        if uses.any():
            shares.append(uses[-math.ceil(n_experts / 10) :].sum() / uses.sum())
    return math.fsum(shares) / len(shares) if shares else None


def _shared(before: Ids, after: Ids) -> int:
    """Count the experts that both rows of each pair [N, k] name."""
    columns = [np.ascontiguousarray(column) for column in after.T]
    return sum(int((before == column[:, None]).sum()) for column in columns)
