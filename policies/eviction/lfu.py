"""Least frequently used."""

from __future__ import annotations

from collections.abc import Container, Sequence

from policies.base import Eviction
from policies.eviction.heap import LazyHeap


class LFU(Eviction):
    """Evicts the expert with the fewest uses, of equal ones the least recently used.

    ``survive_eviction``: whether an expert that comes back goes on counting from where it was
    ("perfect" LFU) or starts anew (in-cache LFU). A prefetch is not a use.
    """

    cite = "Breslau et al., Web caching and Zipf-like distributions, INFOCOM 1999 (in-cache and perfect LFU)"

    def __init__(self, *, survive_eviction: bool = False) -> None:
        self.survive_eviction = survive_eviction
        self.uses: dict[int, int] = {}
        self.clock = 0
        self.heap: LazyHeap[tuple[int, int]] = LazyHeap()

    def on_use(self, keys: Sequence[int], event: int) -> None:
        """Count one use of each key."""
        uses, put, clock = self.uses, self.heap.put, self.clock
        for key in keys:
            clock += 1
            uses[key] = n = uses.get(key, 0) + 1
            put(key, (n, clock))
        self.clock = clock

    def on_insert(self, key: int) -> None:
        """Let a prefetched expert in with the uses that it is known for, by default none."""
        self.clock += 1
        self.heap.put(key, (self.uses.get(key, 0), self.clock))

    def on_evict(self, key: int) -> None:
        """Forget ``key``, but for its count if that survives."""
        self.heap.remove(key)
        if not self.survive_eviction:
            self.uses.pop(key, None)

    def victim(self, blocked: Container[int]) -> int | None:
        """Return the key with the fewest uses that is not blocked."""
        return self.heap.first(blocked)
