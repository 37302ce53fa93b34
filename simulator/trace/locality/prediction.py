"""Foresight: what a layer's experts tell of the next layer's, how often recorded predictions are right."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from simulator.trace.core import MISSING, Ids
from simulator.trace.locality.bootstrap import Array
from simulator.trace.locality.routing import Routing
from simulator.trace.locality.table import Row, ratio

NOTHING = "no rows to learn on, or none to try on"


def next_layer(routing: Routing) -> Iterator[Row]:
    """Yield the share of a layer's experts that the layer before foretells, and that popularity foretells.

    The k experts f with the largest sum of P(f | e) over the k experts e of the layer before are predicted,
    P counted on every other sequence and tried on the rest; of a single sequence, on its
    first half and on its second. Popularity names the layer's k most used experts of the same tokens.
    ``layer`` is the one that is predicted.
    """
    n_tokens, n_layers, top_k = routing.shape
    several = len(routing.sequence_starts) > 1
    learnt = routing.sequence % 2 == 0 if several else np.arange(n_tokens) < n_tokens // 2
    note = "" if several else "one sequence: learnt on its first half, tried on its second"
    sums = {"next_layer": 0, "next_layer_popularity": 0}
    tried = 0
    for layer in range(1, n_layers):
        there = routing.recorded[:, layer - 1] & routing.recorded[:, layer]
        before = _one_hot(routing.experts[there, layer - 1], routing.n_experts)
        after = _one_hot(routing.experts[there, layer], routing.n_experts)
        train, test = learnt[there], ~learnt[there]
        if not (train.any() and test.any()):
            yield from (Row(name, None, 0, layer=layer, note=NOTHING) for name in sums)
            continue
        n = int(test.sum()) * top_k
        popular = after[train].mean(axis=0)
        given = (before[train].T @ after[train]) / np.maximum(before[train].sum(axis=0), 1)[:, None]
        scores = {"next_layer": before[test] @ given, "next_layer_popularity": popular[None]}
        tried += n
        for name, score in scores.items():
            found = _hits(score, after[test], top_k)
            sums[name] += found
            yield Row(name, found / n, n, layer=layer, note=note)
    for name, found in sums.items():
        yield Row(name, ratio(found, tried), tried, note=note if tried else NOTHING)


def recorded_predictions(routing: Routing) -> Iterator[Row]:
    """Yield the share of experts that were predicted so many layers ahead, by the layer they are in."""
    for distance, predicted in enumerate(routing.predicted, start=1):
        ids, actual = predicted[:, :-distance], routing.experts[:, distance:]
        there = (ids[:, :, 0] != MISSING) & (actual[:, :, 0] != MISSING)
        found = (ids[:, :, :, None] == actual[:, :, None, :]).any(axis=3)
        hits = (found.sum(axis=2) * there).sum(axis=0)
        n = routing.shape[2] * there.sum(axis=0)
        yield Row("prediction_accuracy", ratio(hits.sum(), n.sum()), int(n.sum()), distance=distance)
        for layer, (right, of) in enumerate(zip(hits, n, strict=True), start=distance):
            yield Row("prediction_accuracy", ratio(right, of), int(of), layer=layer, distance=distance)


def _one_hot(ids: Ids, n_experts: int) -> Array:
    marked = np.zeros((len(ids), n_experts), dtype=np.float32)
    np.put_along_axis(marked, ids.astype(np.int64), np.float32(1), axis=1)
    return marked


def _hits(score: Array, actual: Array, top_k: int) -> int:
    """Count the experts of ``actual`` [T, E] among the top k by score [T or 1, E]; ties go to the lower id.

    Scores are rounded, so that the order in which a library adds decides no tie.
    """
    best = np.argsort(-score.round(5), axis=1, kind="stable")[:, :top_k]
    best = np.broadcast_to(best, (len(actual), top_k))
    return int(np.take_along_axis(actual, best, axis=1).sum())
