"""The statistics of a trace that a synthetic one is to reproduce.

Each is an array: one value for each layer, or a single one where layers are not told apart; nan
where the trace has nothing to count. Rows that were not recorded are left out.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.trace.core import MISSING, Ids, Trace

Floats = npt.NDArray[np.float64]
LAGS = (1, 2, 4, 8, 16, 64)
LEAST_PAIRS = 50
RECALLED = 2048
THRESHOLDS = (0.6, 0.9)

WORDS = {
    "top_share": "share of uses taken by the tenth of the experts that is used most",
    "entropy": "entropy of the experts' shares of uses (1: all equal)",
    "activation_sd": "standard deviation over experts of the share of tokens that use them",
    "sequence_divergence": "total variation of a sequence's shares from those of all",
    "next_layer": "experts that their pairs with the previous layer's foretell",
    "first_repetition": "neighbouring tokens with the same first choice",
    "any_repetition": "neighbouring tokens with at least one expert in common",
    "high_share": "chosen experts of HOBBIT score up to 0.6 (high precision)",
    "low_share": "chosen experts of HOBBIT score above 0.6, up to 0.9 (low precision)",
    "skip_share": "chosen experts of HOBBIT score above 0.9 (skipped)",
    "gate_mass": "sum of a token's gate weights as recorded",
}


def describe(name: str) -> str:
    """Say what a statistic is, in words."""
    stem, _, number = name.rpartition("_")
    if stem == "reuse":
        return f"experts that are chosen again {number} token{'s' * (number != '1')} later"
    if stem == "weight":
        return f"mean gate weight, rank {number}"
    return WORDS[name]


def measure(trace: Trace) -> dict[str, Floats]:
    """Return all statistics of ``trace`` by name."""
    found = {**popularity(trace), **repetition(trace)}
    found["next_layer"] = next_layer(trace)
    if trace.weights is not None:
        found |= gate_weights(trace)
    return found


def popularity(trace: Trace) -> dict[str, Floats]:
    """Return how unequally the experts of each layer are used, over all sequences and within each."""
    n_layers, n_experts = trace.header.n_layers, trace.header.n_experts
    _, sequence = np.unique(trace.sequence, return_inverse=True)
    n_sequences = int(sequence.max()) + 1
    found = {name: np.full(n_layers, np.nan) for name in ("top_share", "entropy", "activation_sd")}
    found["sequence_divergence"] = np.full(n_layers, np.nan)
    for layer in range(n_layers):
        ids = trace.experts[:, layer]
        there = ids[:, 0] != MISSING
        if not there.any():
            continue
        cells = sequence[there, None] * n_experts + ids[there]
        uses = np.bincount(cells.ravel(), minlength=n_sequences * n_experts).reshape(n_sequences, n_experts)
        own = uses[uses.any(axis=1)]
        share = own.sum(axis=0) / own.sum()
        logs = np.log(share, out=np.zeros(n_experts), where=share > 0)
        found["top_share"][layer] = np.sort(share)[-math.ceil(n_experts / 10) :].sum()
        found["entropy"][layer] = -(share * logs).sum() / math.log(max(n_experts, 2))
        found["activation_sd"][layer] = share.std() * trace.header.top_k
        apart = np.abs(own / own.sum(axis=1, keepdims=True) - share).sum(axis=1) / 2
        found["sequence_divergence"][layer] = apart.mean()
    return found


def repetition(trace: Trace) -> dict[str, Floats]:
    """Return what neighbouring tokens of a sequence have in common, and tokens further apart."""
    found = {}
    for lag in LAGS:
        pairs = (trace.sequence[lag:] == trace.sequence[:-lag]) & (
            trace.position[lag:] - trace.position[:-lag] == lag
        )
        before, after = trace.experts[:-lag][pairs], trace.experts[lag:][pairs]
        there = (before[..., 0] != MISSING) & (after[..., 0] != MISSING)
        shared = _shared(before, after)
        found[f"reuse_{lag}"] = _mean(shared / trace.header.top_k, there)
        if lag == 1:
            found["first_repetition"] = _mean(before[..., 0] == after[..., 0], there)
            found["any_repetition"] = _mean(shared > 0, there)
    return found


def next_layer(trace: Trace) -> Floats:
    """Return the recall [L] of each layer's experts by counts of pairs with the previous layer's.

    The k experts are named whose pairs with the previous layer's are seen most, each count being divided
    by the uses of the previous layer's expert. Counted in all of the trace, named for at most 2,048 of
    its tokens; the first layer has none.
    """
    n_layers, n_experts, k = trace.header.n_layers, trace.header.n_experts, trace.header.top_k
    recall = np.full(n_layers, np.nan)
    for layer in range(n_layers - 1):
        here, then = trace.experts[:, layer].astype(np.intp), trace.experts[:, layer + 1].astype(np.intp)
        there = (here[:, 0] != MISSING) & (then[:, 0] != MISSING)
        if there.any():
            one, two = _marks(here[there], n_experts), _marks(then[there], n_experts)
            given = (one.T @ two) / np.maximum(one.sum(axis=0), 1)[:, None]
            some = slice(None, None, -(-len(one) // RECALLED))
            named = np.argpartition(one[some] @ given, n_experts - k, axis=1)[:, n_experts - k :]
            recall[layer + 1] = np.take_along_axis(two[some], named, axis=1).mean()
    return recall


def gate_weights(trace: Trace) -> dict[str, Floats]:
    """Return mean weights by rank, and the shares of experts by HOBBIT's score.

    Weights are normalised over the chosen k; an expert's score is the sum of the weights of those
    chosen with more (HOBBIT, arXiv 2411.01433, section 3.2).
    """
    assert trace.weights is not None
    there = trace.experts[..., 0] != MISSING
    recorded = trace.weights[there].astype(np.float64)
    total = recorded.sum(axis=1)
    ranked = -np.sort(-recorded[total > 0] / total[total > 0, None])
    score = np.cumsum(ranked, axis=1) - ranked
    low, high = THRESHOLDS
    shares = {f"weight_{rank}": column.mean() for rank, column in enumerate(ranked.T, start=1)}
    shares |= {"high_share": (score <= low).mean(), "skip_share": (score > high).mean()}
    shares |= {"low_share": 1 - shares["high_share"] - shares["skip_share"], "gate_mass": total.mean()}
    return {name: np.array([share]) for name, share in shares.items()}


def _shared(before: Ids, after: Ids) -> npt.NDArray[np.int8]:
    """Count the experts that both rows name [N, L]."""
    counts = np.zeros(before.shape[:2], dtype=np.int8 if before.shape[2] < 128 else np.int16)
    for slot in range(after.shape[2]):
        counts += (before == after[:, :, slot, None]).any(axis=2)
    return counts


def _marks(ids: npt.NDArray[np.intp], n_experts: int) -> npt.NDArray[np.float32]:
    """Return a 1 for each chosen expert [N, E]."""
    marks = np.zeros((len(ids), n_experts), dtype=np.float32)
    np.put_along_axis(marks, ids, 1, axis=1)
    return marks


def _mean(values: npt.NDArray[Any], there: npt.NDArray[np.bool_]) -> Floats:
    """Return the mean over tokens [L] of the values that are there; nan for a layer of few of them."""
    count = there.sum(axis=0)
    total = np.where(there, values, 0).sum(axis=0, dtype=np.float64)
    return np.where(count < LEAST_PAIRS, np.nan, total / np.maximum(count, 1))
