"""LFRU: frequency over age."""

from __future__ import annotations

from collections.abc import Sequence

from policies.base import Event
from policies.eviction.scored import Scored


class LFRU(Scored):
    """Evicts the lowest uses / (age + 1), age in layer steps since the last use (or the arrival)."""

    cite = "lattice and CECAR expert caches (frequency over age + 1)"

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.uses: dict[int, int] = {}
        self.last: dict[int, int] = {}

    def observe(self, event: Event, served: Sequence[int]) -> None:
        """Note the time."""
        super().observe(event, served)
        self.now = event.index

    def on_use(self, keys: Sequence[int], event: int) -> None:
        """Count one use of each key."""
        super().on_use(keys, event)
        for key in keys:
            self.uses[key] = self.uses.get(key, 0) + 1
            self.last[key] = event

    def on_insert(self, key: int) -> None:
        """A prefetched expert arrives now, with the uses that it had."""
        super().on_insert(key)
        self.last[key] = self.now

    def score(self, key: int) -> float:
        """Return uses over age."""
        return self.uses.get(key, 0) / (self.now - self.last[key] + 1)
