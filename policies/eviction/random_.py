"""Random replacement."""

from __future__ import annotations

from collections.abc import Container, Sequence
from random import Random

from policies.base import Context, Eviction


class RandomEviction(Eviction):
    """Evicts an expert drawn uniformly from those that may go; the run's seed decides.

    The draw is made anew only after somebody left, so that asking for a victim changes nothing.
    """

    cite = "Belady, A study of replacement algorithms, IBM Systems Journal 5(2), 1966"

    def __init__(self) -> None:
        self.keys: list[int] = []
        self.places: dict[int, int] = {}

    def bind(self, context: Context) -> None:
        """Seed the draws."""
        super().bind(context)
        self.random = Random(context.seed)  # noqa: S311 - draws, no secrets
        self._draw()

    def _draw(self) -> None:
        self.first, self.second = self.random.random(), self.random.random()

    def on_use(self, keys: Sequence[int], event: int) -> None:
        """Enter the keys that are new."""
        for key in keys:
            if key not in self.places:
                self.on_insert(key)

    def on_insert(self, key: int) -> None:
        """Enter a prefetched expert."""
        self.places[key] = len(self.keys)
        self.keys.append(key)

    def on_evict(self, key: int) -> None:
        """Fill the place of ``key`` with the last one, and draw again."""
        place = self.places.pop(key, None)
        if place is not None:
            last = self.keys.pop()
            if last != key:
                self.keys[place] = last
                self.places[last] = place
            self._draw()

    def victim(self, blocked: Container[int]) -> int | None:
        """Return the drawn key; if it is blocked, one drawn from those that are not."""
        keys = self.keys
        if keys and (drawn := keys[int(self.first * len(keys))]) not in blocked:
            return drawn
        free = [key for key in keys if key not in blocked]
        return free[int(self.second * len(free))] if free else None
