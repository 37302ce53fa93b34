"""A heap of keys whose ranks change, for policies that evict by score."""

from __future__ import annotations

from collections.abc import Container
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

Rank = TypeVar("Rank", int, tuple[int, int])
SLACK = 64


class LazyHeap(Generic[Rank]):
    """Keys by rank, lowest first, ties by key; O(log n) amortised.

    A key that changes its rank or leaves puts nothing right in the heap: its old entry is skipped
    when it surfaces, and the heap is rebuilt when most of it is stale.
    """

    __slots__ = ("heap", "ranks")

    def __init__(self) -> None:
        self.ranks: dict[int, Rank] = {}
        self.heap: list[tuple[Rank, int]] = []

    def put(self, key: int, rank: Rank) -> None:
        """Add a key, or change its rank."""
        ranks = self.ranks
        if ranks.get(key) == rank:
            return
        ranks[key] = rank
        heappush(self.heap, (rank, key))
        if len(self.heap) > 4 * len(ranks) + SLACK:
            self.heap = [(rank, key) for key, rank in ranks.items()]
            heapify(self.heap)

    def remove(self, key: int) -> None:
        """Forget a key, if it is there."""
        self.ranks.pop(key, None)

    def first(self, blocked: Container[int]) -> int | None:
        """Return the key of lowest rank that is not blocked; None if there is none."""
        heap, ranks = self.heap, self.ranks
        skipped = []
        found = None
        while heap:
            rank, key = heap[0]
            if ranks.get(key) == rank:
                if key not in blocked:
                    found = key
                    break
                skipped.append((rank, key))
            heappop(heap)
        for entry in skipped:
            heappush(heap, entry)
        return found
