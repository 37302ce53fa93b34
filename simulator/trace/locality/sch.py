"""SCH, segment cache best hit rate: what a cache finds that knows the next m tokens.

One pool is shared by all layers and holds rho times the experts that a token activates, rho x k x L. A token
looks up its experts of all layers at once, in the state that the token before left. Then they are loaded one
by one, in the order of layer and slot; each evicts the expert that is used least in the m tokens from this
one on (the token's own uses count until they are done), the least recent of several. The pool starts empty
for each window, and an expert that was never used before counts as found as long as the pool is not full.

From Liang et al., Not All Models Suit Expert Offloading (arXiv 2505.16056); the conventions are
those of its code, ljcleo/moe-lrc, 41_sch_calc.py, which reports the same hits for all sizes at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

import numpy as np

from simulator.trace.core import MISSING
from simulator.trace.locality.bootstrap import ONE_SEQUENCE, Array, Bootstrap, quotient
from simulator.trace.locality.routing import Routing, Window
from simulator.trace.locality.srp import SEGMENTS
from simulator.trace.locality.table import Row, ratio

RATIOS = (1.0, 1.5, 2.0, 3.0)
USE, LATER = 1 << 40, 1 << 20  # an expert's priority in one int: uses ahead, time of last use, id


def sch(routing: Routing, bootstrap: Bootstrap) -> Iterator[Row]:
    """Yield SCH by m and rho; windows shorter than m do not count."""
    _, n_layers, top_k = routing.shape
    sizes = [int(rho * top_k * n_layers) for rho in RATIOS]
    for m in SEGMENTS:
        totals = np.zeros((len(routing.sequence_starts), len(RATIOS) + 1), dtype=np.int64)
        used = 0
        for window in routing.windows:
            if window.stop - window.start >= m:
                demands = _demands(routing, window)
                hits = count_hits(demands, n_layers * routing.n_experts, m, sizes)
                totals[window.sequence] += [*hits, sum(map(len, demands))]
                used += 1
        for index, rho in enumerate(RATIOS):
            both = totals[:, [index, -1]]
            value = ratio(*both.sum(axis=0))
            low, high = bootstrap.interval(both, quotient)
            note = f"no window of {m} tokens" if value is None else ONE_SEQUENCE if low is None else ""
            yield Row("sch", value, used, m=m, rho=rho, low=low, high=high, note=note)


def _demands(routing: Routing, window: Window) -> list[Array]:
    """Return the experts of each token, numbered over all layers; rows not recorded demand none."""
    ids = routing.experts[window.start : window.stop].astype(np.int64)
    keys = ids + routing.n_experts * np.arange(ids.shape[1])[:, None]
    return [row[token != MISSING] for row, token in zip(keys, ids, strict=True)]


def count_hits(demands: list[Array], n_experts: int, m: int, sizes: list[int]) -> list[int]:
    """Return the hits of a pool of each size, for a window's demands by token."""
    priority = np.arange(n_experts, dtype=np.int64)
    for demand in demands[:m]:
        priority[demand] += USE
    pools = [_Pool(size, n_experts) for size in sizes]
    seen = np.zeros(n_experts, dtype=np.bool_)
    clock = 0
    for token, demand in enumerate(demands):
        clock += len(demand)
        times = np.arange(clock - len(demand) + 1, clock + 1)
        after = (priority[demand] & -USE) - USE + times * LATER + demand
        fresh = int((~seen[demand]).sum())
        n_seen = int(seen.sum())
        for pool in pools:
            pool.hits += int(pool.resident[demand].sum()) + min(fresh, max(0, pool.size - n_seen))
            pool.load(demand, priority, after)
        seen[demand] = True
        priority[demand] = after
        if token + m < len(demands):
            priority[demands[token + m]] += USE
    return [pool.hits for pool in pools]


@dataclass(slots=True)
class _Pool:
    """The experts that are resident in a cache of one size, and the hits so far."""

    size: int
    resident: Array
    hits: int
    room: int

    def __init__(self, size: int, n_experts: int) -> None:
        self.size = self.room = size
        self.resident = np.zeros(n_experts, dtype=np.bool_)
        self.hits = 0

    def load(self, demand: Array, priority: Array, after: Array) -> None:
        """Make the experts of a token resident one by one; each then has the priority ``after``.

        At most as many experts leave as are demanded, so of the others only that many of the lowest
        priority can; nor can a demanded one above the highest of these.
        """
        there = self.resident[demand]
        if there.all():
            return
        self.resident[demand] = False
        others = priority[self.resident]
        self.resident[demand] = there
        bound = np.iinfo(np.int64).max
        if len(others) > len(demand):
            others = np.partition(others, len(demand))[: len(demand)]
            bound = others.max()
        there_low = there & (priority[demand] < bound)
        heap = [*others.tolist(), *priority[demand[there_low]].tolist()]
        heapify(heap)
        moving = ~there | (after < bound)
        absent = set(demand[~there].tolist())
        for expert, key in zip(demand[moving].tolist(), after[moving].tolist(), strict=True):
            if expert in absent:
                absent.discard(expert)
                if self.room:
                    self.room -= 1
                else:
                    absent.add(_lowest(heap, absent))
            if key < bound:
                heappush(heap, key)
        self.resident[demand] = True
        self.resident[list(absent)] = False


def _lowest(heap: list[int], absent: set[int]) -> int:
    """Take the resident expert of the lowest priority; those that left before are passed over."""
    while (expert := heappop(heap) % LATER) in absent:
        pass
    return expert
