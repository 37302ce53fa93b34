"""Reuse by lag: how many of a token's experts the token ``lag`` later uses too, and what chance would give.

Two baselines say where reuse comes from. *Shuffled* is the expectation over all orders in which the rows
could stand, in closed form: of all sequences together (what popularity alone gives), or within each
sequence (what its subject gives besides). *Uniform* is k / E, every expert being as likely.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from simulator.trace.core import MISSING
from simulator.trace.locality.bootstrap import ONE_SEQUENCE, Array, Bootstrap, quotient
from simulator.trace.locality.routing import Routing
from simulator.trace.locality.table import Row, ratio

LAGS = range(1, 65)
NO_PAIR = "no two tokens that far apart"


def reuse(routing: Routing, bootstrap: Bootstrap) -> Iterator[Row]:
    """Yield reuse and its baselines by lag over all layers, and reuse of neighbours by layer."""
    top_k = routing.shape[2]
    everywhere = _shuffled(routing.experts, routing.n_experts)[None]
    edges = [*routing.sequence_starts.tolist(), len(routing.experts)]
    within = np.stack(
        [_shuffled(routing.experts[start:stop], routing.n_experts) for start, stop in pairwise(edges)]
    )
    for lag in LAGS:
        shared, pairs = _pairs(routing, lag)
        n = int(pairs.sum())
        if not n:
            yield Row("reuse", None, 0, lag=lag, note=NO_PAIR)
            continue
        totals = np.stack([shared.sum(axis=1), top_k * pairs.sum(axis=1)], axis=1)
        low, high = bootstrap.interval(totals, quotient)
        note = ONE_SEQUENCE if low is None else ""
        yield Row("reuse", ratio(shared.sum(), top_k * n), n, lag=lag, low=low, high=high, note=note)
        yield Row("reuse_shuffled", float((everywhere * pairs).sum() / n), n, lag=lag)
        yield Row("reuse_shuffled_in_sequence", float((within * pairs).sum() / n), n, lag=lag)
        yield Row("reuse_uniform", top_k / routing.n_experts, n, lag=lag)
        if lag == 1:
            for layer, (both, of) in enumerate(zip(shared.sum(axis=0), pairs.sum(axis=0), strict=True)):
                yield Row("reuse", ratio(both, top_k * of), int(of), layer=layer, lag=lag)


def _pairs(routing: Routing, lag: int) -> tuple[Array, Array]:
    """Count shared experts and pairs of recorded rows [S, L] of tokens ``lag`` apart in a stretch."""
    n_tokens, n_layers, top_k = routing.shape
    if lag >= n_tokens:
        nothing = np.zeros((len(routing.sequence_starts), n_layers), dtype=np.int64)
        return nothing, nothing
    together = (routing.stretch[:-lag] == routing.stretch[lag:])[:, None]
    counted = together & routing.recorded[:-lag] & routing.recorded[lag:]
    columns = [np.ascontiguousarray(routing.experts[:, :, slot]) for slot in range(top_k)]
    shared = np.zeros(counted.shape, dtype=np.int16)
    for before in columns:
        for after in columns:
            shared += before[:-lag] == after[lag:]
    shared[~counted] = 0
    return routing.by_sequence(shared), routing.by_sequence(counted)


def _shuffled(experts: Array, n_experts: int) -> Array:
    """Return the reuse expected between two different rows of each layer [L], drawn at random.

    Of n rows that use expert e n_e times, sum_e n_e (n_e - 1) of the n (n - 1) ordered pairs share it.
    """
    _, n_layers, top_k = experts.shape
    keys = experts + n_experts * np.arange(n_layers, dtype=np.int64)[:, None]
    uses = np.bincount(keys[experts != MISSING], minlength=n_layers * n_experts).reshape(n_layers, n_experts)
    rows = (experts[:, :, 0] != MISSING).sum(axis=0)
    expected: Array = (uses * (uses - 1)).sum(axis=1) / np.maximum(top_k * rows * (rows - 1), 1)
    return expected
