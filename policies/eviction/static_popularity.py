"""Static popularity: keep the experts that are popular in a training trace."""

from __future__ import annotations

from collections.abc import Container, Sequence

from policies.base import Context, Eviction
from policies.eviction.heap import LazyHeap


class StaticPopularity(Eviction):
    """Starts with the experts that the training trace used most and evicts those that it used least."""

    cite = "Kamahori et al., Fiddler, ICLR 2025, arXiv 2402.07033 (experts placed by popularity)"

    def __init__(self) -> None:
        self.heap: LazyHeap[int] = LazyHeap()

    def bind(self, context: Context) -> None:
        """Take the counts, flattened so that an expert's key is its index."""
        super().bind(context)
        assert context.popularity is not None
        self.popularity: list[int] = context.popularity.ravel().tolist()

    def assumptions(self) -> Sequence[str]:
        """Say where the popularity comes from where no training trace is named."""
        if self.context.training is not None:
            return []
        return ["popularity is that of the replayed trace itself: it is known beforehand"]

    def preload(self, layers: Sequence[int]) -> Sequence[int]:
        """Start with the most popular experts, of equal ones the lowest key."""
        n = self.context.n_experts
        keys = [key for layer in layers for key in range(layer * n, (layer + 1) * n)]
        return sorted(keys, key=lambda key: (-self.popularity[key], key))

    def on_use(self, keys: Sequence[int], event: int) -> None:
        """Enter the keys; how often they are used here changes nothing."""
        for key in keys:
            self.on_insert(key)

    def on_insert(self, key: int) -> None:
        """Enter ``key`` under its popularity."""
        self.heap.put(key, self.popularity[key // self.context.n_versions])

    def on_evict(self, key: int) -> None:
        """Forget ``key``."""
        self.heap.remove(key)

    def victim(self, blocked: Container[int]) -> int | None:
        """Return the least popular key that is not blocked."""
        return self.heap.first(blocked)
