"""Pinned: what is there at the start stays."""

from __future__ import annotations

from collections.abc import Container, Sequence

from policies.base import Eviction


class Pinned(Eviction):
    """Starts with as many experts as fit, in the order of layers and experts, and lets nobody else in.

    With the partition ``whole-layers`` these are all experts of some layers, as placements that are
    fixed when the model is loaded have it.
    """

    refuses = True
    cite = "Hugging Face accelerate, device_map; llama.cpp, --n-cpu-moe"

    def preload(self, layers: Sequence[int]) -> Sequence[int]:
        """Start with every expert, as far as it fits."""
        n = self.context.n_experts
        return [key for layer in layers for key in range(layer * n, (layer + 1) * n)]

    def on_use(self, keys: Sequence[int], event: int) -> None:
        """Uses change nothing."""

    def on_insert(self, key: int) -> None:
        """Arrivals change nothing."""

    def on_evict(self, key: int) -> None:
        """Nothing that is here goes."""

    def victim(self, blocked: Container[int]) -> int | None:
        """Return nobody."""
        return None
