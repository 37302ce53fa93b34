"""Least-Stale: what this pass has not touched goes first."""

from __future__ import annotations

from collections.abc import Sequence

from policies.base import Event
from policies.eviction.scored import Scored


class LeastStale(Scored):
    """Evicts experts that the present pass has not used first, then others; of each the oldest use first."""

    cite = "SpecMD, 2026, arXiv 2602.03921 (Least-Stale eviction)"

    def __init__(self) -> None:
        super().__init__()
        self.clock = 0
        self.this_pass = 0
        self.last: dict[int, tuple[int, int]] = {}

    def observe(self, event: Event, served: Sequence[int]) -> None:
        """Note the pass."""
        super().observe(event, served)
        self.this_pass = event.index // self.context.n_layers

    def on_use(self, keys: Sequence[int], event: int) -> None:
        """Note the pass and the order of use."""
        super().on_use(keys, event)
        for key in keys:
            self._touch(key)

    def on_insert(self, key: int) -> None:
        """A prefetched expert counts as touched when it arrives."""
        super().on_insert(key)
        self._touch(key)

    def _touch(self, key: int) -> None:
        self.clock += 1
        self.last[key] = (self.this_pass, self.clock)

    def score(self, key: int) -> float:
        """Return the order of use, those of the present pass above all others."""
        touched, order = self.last[key]
        return order + (self.clock if touched == self.this_pass else 0)
