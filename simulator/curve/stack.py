"""Stack distances: the hits of LRU at every capacity, in one pass.

A layer step is one event: all of its keys are looked up before any of them moves. With experts of one size,
and room for a step's keys, an LRU cache of C experts holds the C keys used last, whichever way victims leave.
So a lookup hits if fewer than C distinct keys of its pool were used since. Source: Mattson et al., Evaluation
techniques for storage hierarchies, IBM Systems Journal 9(2), 1970.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.curve.compiled import compiled

Ints = npt.NDArray[np.int64]


class Stack(NamedTuple):
    """The stacks of P pools of at most M keys each, K keys in all.

    ``tree`` [P, places + 1] counts keys by the place of their last use. ``last`` [K] is that place (from 1;
    0: not used yet), ``at`` [P, 2] the last place taken and the keys present. ``hits`` [P, 2, M] counts
    lookups by pool, phase (1: decodes) and distance; a first use has none. ``most`` [P] is a step's most
    keys.
    """

    tree: Ints
    last: Ints
    at: Ints
    hits: Ints
    most: Ints


def new(pool_of_layer: Ints, n_experts: int) -> Stack:
    """Return empty stacks."""
    layers = np.bincount(pool_of_layer)
    n_pools, most = len(layers), int(layers.max()) * n_experts
    return Stack(
        np.zeros((n_pools, 4 * most + 65), dtype=np.int64),
        np.zeros(len(pool_of_layer) * n_experts, dtype=np.int64),
        np.zeros((n_pools, 2), dtype=np.int64),
        np.zeros((n_pools, 2, most), dtype=np.int64),
        np.zeros(n_pools, dtype=np.int64),
    )


@compiled
def count(stack: Any, keys: Any, starts: Any, decode: Any, pool_of_layer: Any, n_experts: int) -> None:
    """Count the distance of each lookup: how many distinct keys of its pool were used since its key was.

    A tree of counts over places in time (Fenwick, 1994): each key counts at the place of its last use. When
    the places run out, the keys move together, in their order: so the tree fits the processor's cache.
    """
    tree_of, last, at, hits, most = stack
    room = tree_of.shape[1] - 1
    n_layers = len(pool_of_layer)
    for step in range(len(starts) - 1):
        pool, first, end = pool_of_layer[step % n_layers], starts[step], starts[step + 1]
        tree = tree_of[pool]
        place, present = at[pool, 0], at[pool, 1]
        phase = 1 if decode[step] else 0
        most[pool] = max(most[pool], end - first)
        for i in range(first, end):
            j = last[keys[i]]
            if j:
                before = 0
                while j > 0:
                    before += tree[j]
                    j -= j & -j
                hits[pool, phase, present - before] += 1
        if place + end - first > room:
            mine = np.empty(present, dtype=np.int64)
            n = 0
            for key in range(len(last)):
                if last[key] and pool_of_layer[key // n_experts] == pool:
                    mine[n] = key
                    n += 1
            order = np.argsort(last[mine])
            for n in range(present):
                last[mine[order[n]]] = n + 1
            for n in range(1, room + 1):  # a tree of ones up to ``present``
                tree[n] = max(0, min(n, present) - (n - (n & -n)))
            place = present
        for i in range(first, end):
            j = last[keys[i]]
            present += j == 0
            while 0 < j <= room:
                tree[j] -= 1
                j += j & -j
            place += 1
            last[keys[i]] = place
            j = place
            while j <= room:
                tree[j] += 1
                j += j & -j
        at[pool, 0], at[pool, 1] = place, present
