"""Least recently used."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container, Sequence

from policies.base import Eviction


class LRU(Eviction):
    """Evicts the expert whose last use (or arrival, if it was never used) is longest ago."""

    cite = "Mattson et al., Evaluation techniques for storage hierarchies, IBM Systems Journal 9(2), 1970"

    def __init__(self) -> None:
        # an OrderedDict, since a dict whose front is eaten away is slow to iterate: measured 5 times as slow
        self.order: OrderedDict[int, None] = OrderedDict()

    def on_use(self, keys: Sequence[int], event: int) -> None:
        """Move each key to the young end."""
        order = self.order
        move = order.move_to_end
        for key in keys:
            if key in order:
                move(key)
            else:
                order[key] = None

    def on_insert(self, key: int) -> None:
        """A prefetched expert starts at the young end."""
        self.order[key] = None

    def on_evict(self, key: int) -> None:
        """Forget ``key``."""
        self.order.pop(key, None)

    def victim(self, blocked: Container[int]) -> int | None:
        """Return the oldest key that is not blocked."""
        for key in self.order:
            if key not in blocked:
                return key
        return None
