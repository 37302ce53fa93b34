"""LFRU: frequency over age."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from policies.base import Context, Event
from policies.eviction.scored import Keys, Scored, Scores


class LFRU(Scored):
    """Evicts the lowest uses / (age + 1), age in layer steps since the last use (or the arrival)."""

    cite = "lattice and CECAR expert caches (frequency over age + 1)"

    def __init__(self) -> None:
        super().__init__()
        self.now = 0

    def bind(self, context: Context) -> None:
        """Start the records."""
        super().bind(context)
        self.uses, self.last = np.zeros((2, self.n_keys), np.int64)

    def observe(self, event: Event, served: Sequence[int]) -> None:
        """Note the time."""
        super().observe(event, served)
        self.now = event.index

    def on_use(self, keys: Sequence[int], event: int) -> None:
        """Count one use of each key."""
        super().on_use(keys, event)
        used = np.array(keys, np.int64)
        self.uses[used] += 1
        self.last[used] = event

    def on_insert(self, key: int) -> None:
        """A prefetched expert arrives now, with the uses that it had."""
        super().on_insert(key)
        self.last[key] = self.now

    def scores(self, keys: Keys) -> Scores:
        """Return uses over age."""
        scores: Scores = self.uses[keys] / (self.now - self.last[keys] + 1)
        return scores
