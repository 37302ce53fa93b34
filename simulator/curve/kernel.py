"""One cache at one size: who is resident, step by step, as docs/timing.md §4 has it, without time.

Policies are ranks: the key of the lowest rank leaves. A heap holds them; what is out of date is skipped.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.curve.compiled import compiled
from simulator.curve.next_uses import NEVER

LRU, FIFO, LFU, LFU_SURVIVING, BELADY = range(5)
POLICIES = {
    "lru": LRU, "fifo": FIFO, "lfu": LFU, "lfu-surviving": LFU_SURVIVING, "belady": BELADY,
}  # fmt: skip
CLOCK = 2**36
"""More than any clock: a count (below 2**27) times it, plus the clock, orders by count, then by age."""

Ints = npt.NDArray[np.int64]


class Cache(NamedTuple):
    """A cache of P pools and K keys, between two steps. Ranks of -1 are of keys that have none.

    ``of_layer`` [L] is each layer's pool, ``sizes`` [L] the bytes of its experts. ``capacity`` and ``used``
    [P] are bytes. ``heap`` and ``heap_keys`` hold one heap after another: pool p's begins at
    ``heap_start[p]`` and has ``heap_size[p]`` entries. ``rank``, ``uses``, ``resident`` and ``blocked`` (the
    last step that did) are [K]. ``counts`` are the clock, hits, hits that decode, and bytes read.
    """

    of_layer: Ints
    sizes: Ints
    capacity: Ints
    used: Ints
    heap: Ints
    heap_keys: npt.NDArray[np.int32]
    heap_start: Ints
    heap_size: Ints
    rank: Ints
    uses: Ints
    resident: npt.NDArray[np.bool_]
    blocked: Ints
    held: Ints
    counts: Ints


def new(of_layer: Ints, sizes: Ints, capacity: Ints, n_experts: int) -> Cache:
    """Return an empty cache."""
    n_keys = len(sizes) * n_experts
    room = 4 * n_experts * np.bincount(of_layer, minlength=len(capacity)) + 64
    return Cache(
        of_layer,
        sizes,
        capacity,
        used=np.zeros(len(capacity), dtype=np.int64),
        heap=np.empty(room.sum(), dtype=np.int64),
        heap_keys=np.empty(room.sum(), dtype=np.int32),
        heap_start=np.concatenate([[0], np.cumsum(room)]),
        heap_size=np.zeros(len(capacity), dtype=np.int64),
        rank=np.full(n_keys, -1, dtype=np.int64),
        uses=np.zeros(n_keys, dtype=np.int64),
        resident=np.zeros(n_keys, dtype=np.bool_),
        blocked=np.full(n_keys, -1, dtype=np.int64),
        held=np.empty(n_keys, dtype=np.int64),
        counts=np.zeros(4, dtype=np.int64),
    )


@compiled
def push(heap: Any, heap_keys: Any, size: int, rank: int, key: int) -> int:
    """Put a key into the heap; return its new size."""
    i = size
    while i > 0:
        above = (i - 1) >> 1
        if heap[above] <= rank:
            break
        heap[i], heap_keys[i] = heap[above], heap_keys[above]
        i = above
    heap[i], heap_keys[i] = rank, key
    return size + 1


@compiled
def pop(heap: Any, heap_keys: Any, size: int) -> int:
    """Take the first off the heap, which the caller has read; return its new size."""
    size -= 1
    rank, key = heap[size], heap_keys[size]
    i = 0
    while True:
        below = 2 * i + 1
        if below >= size:
            break
        if below + 1 < size and heap[below + 1] < heap[below]:
            below += 1
        if heap[below] >= rank:
            break
        heap[i], heap_keys[i] = heap[below], heap_keys[below]
        i = below
    heap[i], heap_keys[i] = rank, key
    return size


@compiled
def first_out(heap: Any, heap_keys: Any, size: int, rank_of: Any, blocked: Any, step: int, held: Any) -> Any:
    """Return the key of the lowest rank that this step does not block (-1: nobody), and the heap's new size.

    The key is taken off the heap; blocked ones go back, what is out of date does not.
    """
    n_held, victim = 0, -1
    while size > 0 and victim < 0:
        rank, key = heap[0], heap_keys[0]
        size = pop(heap, heap_keys, size)
        if rank_of[key] != rank:
            continue
        if blocked[key] == step:
            held[n_held] = key
            n_held += 1
        else:
            victim = key
    for j in range(n_held):
        size = push(heap, heap_keys, size, rank_of[held[j]], held[j])
    return victim, size


@compiled
def leave(cache: Any, pool: int, h: Any, hk: Any, step: int, n_experts: int, survive: bool) -> bool:
    """Make the pool's victim leave; return whether there was one that the step does not block."""
    victim, cache.heap_size[pool] = first_out(
        h, hk, cache.heap_size[pool], cache.rank, cache.blocked, step, cache.held
    )
    if victim < 0:
        return False
    cache.resident[victim] = False
    cache.rank[victim] = -1
    cache.used[pool] -= cache.sizes[victim // n_experts]
    if not survive:
        cache.uses[victim] = 0
    return True


@compiled
def play(
    cache: Any,
    keys: Any,
    starts: Any,
    decode: Any,
    next_use: Any,
    begin: int,
    n_experts: int,
    policy: int,
    after_event: bool,
) -> None:
    """Play the steps of a block, the first of which is the run's step ``begin``.

    ``next_use`` [N] is for Belady alone.
    """
    sizes, capacity, used, resident = cache.sizes, cache.capacity, cache.used, cache.resident
    rank_of, uses, blocked, heap_size = cache.rank, cache.uses, cache.blocked, cache.heap_size
    n_layers, n_keys, survive = len(sizes), len(rank_of), policy == LFU_SURVIVING
    clock, hits, decoded, read = cache.counts
    for index in range(len(starts) - 1):
        first, last, step = starts[index], starts[index + 1], begin + index
        layer = index % n_layers
        pool, size = cache.of_layer[layer], sizes[layer]
        low, high = cache.heap_start[pool], cache.heap_start[pool + 1]
        h, hk = cache.heap[low:high], cache.heap_keys[low:high]
        for i in range(first, last):  # look up
            blocked[keys[i]] = step
            if resident[keys[i]]:
                hits += 1
                decoded += decode[index]
            else:
                read += size
        for i in range(first, last):  # every use is told before anybody leaves
            key = keys[i]
            clock += 1
            uses[key] += 1
            rank = clock
            if policy == FIFO and rank_of[key] >= 0:
                rank = rank_of[key]
            elif policy == BELADY:
                rank = (NEVER - next_use[i]) * n_keys + key
            elif policy in (LFU, LFU_SURVIVING):
                rank = uses[key] * CLOCK + clock
            if rank == rank_of[key]:
                continue
            rank_of[key] = rank
            if heap_size[pool] == high - low:  # most of it is out of date: made anew
                heap_size[pool] = 0
                for other in range(n_keys):
                    if rank_of[other] >= 0 and cache.of_layer[other // n_experts] == pool and other != key:
                        heap_size[pool] = push(h, hk, heap_size[pool], rank_of[other], other)
            heap_size[pool] = push(h, hk, heap_size[pool], rank, key)
        for i in range(first, last):  # make room for each; or take all in
            if resident[keys[i]]:
                continue
            there = True
            while not after_event and there and capacity[pool] - used[pool] < size:
                there = leave(cache, pool, h, hk, step, n_experts, survive)
            if there:
                resident[keys[i]] = True
                used[pool] += size
        there = after_event and last > first  # a step without demand is no event
        while there and used[pool] > capacity[pool]:
            there = leave(cache, pool, h, hk, step, n_experts, survive)
        for i in range(first, last):
            if not resident[keys[i]]:  # streamed, not kept
                rank_of[keys[i]] = -1
                if not survive:
                    uses[keys[i]] = 0
    cache.counts[0], cache.counts[1], cache.counts[2], cache.counts[3] = clock, hits, decoded, read
