"""Least-Stale: what this pass has not touched goes first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from policies.base import Context, Event
from policies.eviction.scored import Keys, Scored, Scores


class LeastStale(Scored):
    """Evicts experts that the present pass has not used first, then others; of each the oldest use first."""

    cite = "SpecMD, 2026, arXiv 2602.03921 (Least-Stale eviction)"

    def __init__(self) -> None:
        super().__init__()
        self.clock = 0
        self.this_pass = 0

    def bind(self, context: Context) -> None:
        """Start the records."""
        super().bind(context)
        self.touched_in, self.touched_at = np.zeros((2, self.n_keys), np.int64)

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
        self.touched_in[key], self.touched_at[key] = self.this_pass, self.clock

    def scores(self, keys: Keys) -> Scores:
        """Return the order of use, those of the present pass above all others."""
        of_this_pass = self.touched_in[keys] == self.this_pass
        return (self.touched_at[keys] + np.where(of_this_pass, self.clock, 0)).astype(np.float64)
