"""Stack distances: the hits of LRU at every capacity, in one pass.

A layer step is one event: all of its keys are looked up before any of them moves. With experts of one size,
and room for a step's keys, an LRU cache of C experts holds the C keys used last, whichever way victims leave.
So a lookup hits if fewer than C distinct keys of its pool were used since. Source: Mattson et al., Evaluation
techniques for storage hierarchies, IBM Systems Journal 9(2), 1970.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.curve.compiled import compiled


@compiled
def distances(keys: Any, starts: Any, pool_of_layer: Any, n_layers: int, n_keys: int, n_pools: int) -> Any:
    """Return for each lookup how many distinct keys of its pool were used since its key was; -1: never.

    A tree of counts over places in time (Fenwick, 1994): each key counts at the place of its last use. When
    the places run out, the keys move together, in their order: so the tree fits the processor's cache.
    """
    found = np.full(len(keys), -1, dtype=np.int64)
    room = 4 * n_keys + 64
    for pool in range(n_pools):
        tree = np.zeros(room + 1, dtype=np.int64)
        last = np.zeros(n_keys, dtype=np.int64)  # places count from 1; 0: not used yet
        place, present = 0, 0
        for step in range(len(starts) - 1):
            if pool_of_layer[step % n_layers] != pool:
                continue
            first, end = starts[step], starts[step + 1]
            for i in range(first, end):
                at = last[keys[i]]
                if at:
                    before, j = 0, at
                    while j > 0:
                        before += tree[j]
                        j -= j & -j
                    found[i] = present - before
            if place + end - first > room:
                place = present
                order = np.argsort(last)
                tree[:] = 0
                for n in range(present):
                    last[order[n_keys - present + n]] = n + 1
                for n in range(1, room + 1):  # a tree of ones up to ``present``
                    tree[n] = max(0, min(n, present) - (n - (n & -n)))
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
    return found


def in_order(found: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the distances of lookups whose key was used before, ascending; those below the slots hit."""
    return np.sort(found[found >= 0])
