"""One cache at one size: who is resident, step by step, as docs/timing.md §4 has it, without time.

Policies are ranks: the key of the lowest rank leaves. A heap holds them; what is out of date is skipped.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.curve.compiled import compiled
from simulator.curve.events import NEVER

LRU, FIFO, LFU, LFU_SURVIVING, BELADY = range(5)
POLICIES = {
    "lru": LRU, "fifo": FIFO, "lfu": LFU, "lfu-surviving": LFU_SURVIVING, "belady": BELADY,
}  # fmt: skip
CLOCK = 2**40
"""More than any clock: a count times it, plus the clock, orders by count, then by age."""


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
def play(
    keys: Any,
    starts: Any,
    decode: Any,
    next_use: Any,
    sizes: Any,
    pool_of_layer: Any,
    capacity: Any,
    n_experts: int,
    policy: int,
    after_event: bool,
) -> Any:
    """Return hits, hits that decode, and bytes read, of one cache over all steps.

    ``sizes`` [L] are bytes of an expert, ``capacity`` [pools] bytes; ``next_use`` [N] is for Belady alone.
    """
    n_layers, n_pools = len(sizes), len(capacity)
    n_keys = n_layers * n_experts
    room = 8 * n_keys + 64
    heap = np.empty((n_pools, room), dtype=np.int64)
    heap_keys = np.empty((n_pools, room), dtype=np.int64)
    heap_size = np.zeros(n_pools, dtype=np.int64)
    rank_of = np.full(n_keys, -1, dtype=np.int64)
    uses = np.zeros(n_keys, dtype=np.int64)
    resident = np.zeros(n_keys, dtype=np.bool_)
    blocked = np.full(n_keys, -1, dtype=np.int64)
    held = np.empty(n_keys, dtype=np.int64)
    used = np.zeros(n_pools, dtype=np.int64)
    clock, hits, decoded, read = 0, 0, 0, 0
    for step in range(len(starts) - 1):
        first, last = starts[step], starts[step + 1]
        layer = step % n_layers
        pool, size = pool_of_layer[layer], sizes[layer]
        h, hk = heap[pool], heap_keys[pool]
        for i in range(first, last):  # look up
            blocked[keys[i]] = step
            if resident[keys[i]]:
                hits += 1
                decoded += decode[step]
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
            if heap_size[pool] == room:  # most of it is out of date: made anew
                heap_size[pool] = 0
                for other in range(n_keys):
                    if rank_of[other] >= 0 and pool_of_layer[other // n_experts] == pool and other != key:
                        heap_size[pool] = push(h, hk, heap_size[pool], rank_of[other], other)
            heap_size[pool] = push(h, hk, heap_size[pool], rank, key)
        for i in range(first, last):  # make room for each; or take all in
            key = keys[i]
            if resident[key]:
                continue
            stuck = False
            while not after_event and not stuck and capacity[pool] - used[pool] < size:
                victim, heap_size[pool] = first_out(h, hk, heap_size[pool], rank_of, blocked, step, held)
                stuck = victim < 0
                if not stuck:
                    resident[victim] = False
                    rank_of[victim] = -1
                    used[pool] -= sizes[victim // n_experts]
                    if policy != LFU_SURVIVING:
                        uses[victim] = 0
            if not stuck:
                resident[key] = True
                used[pool] += size
        stuck = False
        while after_event and not stuck and used[pool] > capacity[pool]:
            victim, heap_size[pool] = first_out(h, hk, heap_size[pool], rank_of, blocked, step, held)
            stuck = victim < 0
            if not stuck:
                resident[victim] = False
                rank_of[victim] = -1
                used[pool] -= sizes[victim // n_experts]
                if policy != LFU_SURVIVING:
                    uses[victim] = 0
        for i in range(first, last):
            if not resident[keys[i]]:  # streamed, not kept
                rank_of[keys[i]] = -1
                if policy != LFU_SURVIVING:
                    uses[keys[i]] = 0
    return hits, decoded, read
