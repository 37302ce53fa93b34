"""Static popularity: a placement before the run, of the experts that are popular in what was learnt from."""

from __future__ import annotations

from collections.abc import Sequence

from policies.base import Context
from policies.eviction.pinned import Pinned


class StaticPopularity(Pinned):
    """Starts with the experts that were used most beforehand, as many as fit, and lets nobody else in.

    Of equally popular ones the lowest key. What is missing is streamed and not kept.
    """

    cite = "Kamahori et al., Fiddler, ICLR 2025, arXiv 2402.07033 (experts placed by popularity)"
    learns_beforehand = True

    def bind(self, context: Context) -> None:
        """Take the counts, flattened so that an expert's key is its index."""
        super().bind(context)
        assert context.popularity is not None
        self.popularity: list[int] = context.popularity.ravel().tolist()

    def preload(self, layers: Sequence[int]) -> Sequence[int]:
        """Start with the most popular experts."""
        return sorted(super().preload(layers), key=lambda key: (-self.popularity[key], key))
