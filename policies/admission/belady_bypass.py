"""Bypass by the future: an expert that is needed later than all residents is streamed."""

from __future__ import annotations

from collections.abc import Sequence

from policies.base import Admission, Context, Future


class BeladyBypass(Admission):
    """Admits an expert only if its next use comes before the victim's.

    With Belady eviction and one expert a step it is the optimum with bypass; with several a step a good
    guess, since they cannot make room for each other. The difference to forced admission is what
    admission can be worth.
    """

    needs = frozenset({"future"})
    cite = "McFarling, Cache replacement with dynamic exclusion, ISCA 1992 (optimal caches with bypass)"
    future: Future

    def bind(self, context: Context) -> None:
        """Take the future."""
        super().bind(context)
        assert context.future is not None
        self.future = context.future

    def order(self, keys: Sequence[int], event: int) -> Sequence[int]:
        """Return the missed keys, those needed soonest first."""
        return sorted(keys, key=lambda key: self._due(key, event))

    def admits(self, key: int, victim: int, event: int) -> bool:
        """Return whether ``key`` is needed before ``victim``."""
        return self._due(key, event) < self._due(victim, event)

    def _due(self, key: int, event: int) -> int:
        return self.future.next_use(key // self.context.n_versions, event)
