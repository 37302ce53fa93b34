"""Statistics of a size that their publisher chose: ``lru_hit_N``, ``within_N``, ``top_N``.

Each is one value a layer [L]; nan for a layer without anything to count. Rows that were not recorded
are left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

import numpy as np
import numpy.typing as npt

from simulator.trace.core import MISSING, Trace
from simulator.trace.locality.distances import histogram
from simulator.trace.locality.routing import Routing
from simulator.trace.synth.statistics import Floats

KINDS = {
    "lru_hit": "hits of LRU with {} experts a layer, empty when a sequence starts",
    "within": "experts that one of the {} tokens before chose too",
    "top": "share of uses taken by the {} experts that are used most",
}
NAME = re.compile(rf"({'|'.join(KINDS)})_([1-9]\d{{0,5}})")


def parse(name: str) -> tuple[str, int] | None:
    """Return kind and size of a statistic's name; None for one that has no size."""
    found = NAME.fullmatch(name)
    return (found[1], int(found[2])) if found else None


def describe_sized(kind: str, size: int) -> str:
    """Say what a statistic of a size is, in words."""
    return KINDS[kind].format(size)


def measure_sized(trace: Trace, names: Collection[str]) -> dict[str, Floats]:
    """Return the statistics of ``names`` that have a size."""
    asked: dict[str, list[int]] = {}
    for kind, size in filter(None, map(parse, names)):
        asked.setdefault(kind, []).append(size)
    return {
        f"{kind}_{size}": values
        for kind, sizes in asked.items()
        for size, values in zip(sizes, COUNTS[kind](trace, sizes), strict=True)
    }


def lru_hits(trace: Trace, sizes: list[int]) -> list[Floats]:
    """Return the hit rates of an LRU cache of each size in every layer; a token's k are looked up at once.

    The layers of all sequences lie side by side, as layers of one sequence: so every sequence starts cold.
    """
    n_layers, n_experts, k = trace.header.n_layers, trace.header.n_experts, trace.header.top_k
    _, start, number, length = np.unique(
        trace.sequence, return_index=True, return_inverse=True, return_counts=True
    )
    beside = np.full((int(length.max()), len(length), n_layers, k), MISSING, dtype=trace.experts.dtype)
    beside[np.arange(trace.n_tokens) - start[number], number] = trace.experts
    rows = beside.reshape(len(beside), -1, k)
    nowhere = np.zeros(len(rows), dtype=np.int64)
    counts = histogram(Routing(rows, (), nowhere, nowhere, n_experts))
    by_layer = counts.reshape(len(length), n_layers, n_experts + 1).sum(axis=0)
    hits = by_layer[:, :-1].cumsum(axis=1)
    return [_share(hits[:, min(size, n_experts) - 1], by_layer.sum(axis=1)) for size in sizes]


def within(trace: Trace, sizes: list[int]) -> list[Floats]:
    """Return the shares of uses whose expert was used within so many tokens before.

    Counted at tokens that have as many before them in their sequence.
    """
    gaps = _gaps(trace)
    _, start, number = np.unique(trace.sequence, return_index=True, return_inverse=True)
    age = trace.position - trace.position[start][number]
    there = trace.experts[:, :, 0] != MISSING
    shares = []
    for size in sizes:
        counted = there & (age >= size)[:, None]
        found = ((gaps > 0) & (gaps <= size)).sum(axis=2)
        shares.append(
            _share(np.where(counted, found, 0).sum(axis=0), counted.sum(axis=0) * trace.header.top_k)
        )
    return shares


def top(trace: Trace, sizes: list[int]) -> list[Floats]:
    """Return the shares of uses that go to so many of the layer's experts, the most used ones."""
    n_layers, n_experts = trace.header.n_layers, trace.header.n_experts
    cells = np.arange(n_layers)[:, None] * n_experts + trace.experts
    uses = np.bincount(cells[trace.experts != MISSING], minlength=n_layers * n_experts)
    ranked = -np.sort(-uses.reshape(n_layers, n_experts), axis=1)
    return [_share(ranked[:, :size].sum(axis=1), ranked.sum(axis=1)) for size in sizes]


COUNTS: dict[str, Callable[[Trace, list[int]], list[Floats]]] = {
    "lru_hit": lru_hits,
    "within": within,
    "top": top,
}


def _gaps(trace: Trace) -> npt.NDArray[np.int64]:
    """Return how many positions before each use its expert was last used [T, L, k]; 0: never yet."""
    n_layers, n_experts = trace.header.n_layers, trace.header.n_experts
    place = trace.sequence[:, None, None].astype(np.int64) * n_layers + np.arange(n_layers)[:, None]
    cell = (place * (n_experts + 1) + trace.experts + 1).ravel()
    order = np.argsort(cell, kind="stable")
    position = np.repeat(trace.position.astype(np.int64), cell.size // trace.n_tokens)[order]
    same = cell[order][1:] == cell[order][:-1]
    gaps = np.zeros(cell.size, dtype=np.int64)
    gaps[order[1:]] = np.where(same, np.diff(position), 0)
    return gaps.reshape(trace.experts.shape)


def _share(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> Floats:
    shares: Floats = np.where(whole > 0, part / np.maximum(whole, 1), np.nan)
    return shares
