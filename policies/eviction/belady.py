"""Belady's MIN: the optimum that knows the future."""

from __future__ import annotations

from collections.abc import Container, Sequence

from policies.base import Context, Eviction, Future
from policies.eviction.heap import LazyHeap


class Belady(Eviction):
    """Evicts the expert whose next use is furthest away, of equal ones the lowest key.

    Optimal for experts of equal size that must be let in (forced admission); an expert is used
    when the trace demands it, whatever its precision.
    """

    needs = frozenset({"future"})
    cite = "Belady, A study of replacement algorithms, IBM Systems Journal 5(2), 1966"
    future: Future

    def __init__(self) -> None:
        self.heap: LazyHeap[int] = LazyHeap()
        self.now = -1

    def bind(self, context: Context) -> None:
        """Take the future."""
        super().bind(context)
        assert context.future is not None
        self.future = context.future

    def on_use(self, keys: Sequence[int], event: int) -> None:
        """Look up the next use of each key, and of what else is here and was demanded now.

        A lower tier sees only what the upper one missed, but its copies of the rest are due later too.
        """
        self.now = event
        heap, n_versions = self.heap, self.context.n_versions
        here = heap.ranks
        unseen = set(keys)
        for expert, due in zip(self.future.keys(event), self.future.next_uses(event), strict=True):
            for key in range(expert * n_versions, (expert + 1) * n_versions):
                if key in unseen:
                    unseen.remove(key)
                    heap.put(key, -due)
                elif key in here:
                    heap.put(key, -due)
        for key in unseen:  # substitutes, which the trace did not ask for
            self.on_insert(key)

    def on_insert(self, key: int) -> None:
        """Look up the next use of an expert that was not demanded."""
        self.heap.put(key, -self.future.next_use(key // self.context.n_versions, self.now))

    def on_evict(self, key: int) -> None:
        """Forget ``key``."""
        self.heap.remove(key)

    def victim(self, blocked: Container[int]) -> int | None:
        """Return the key that is needed last and not blocked."""
        return self.heap.first(blocked)
