"""First in, first out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container, Sequence

from policies.base import Eviction


class FIFO(Eviction):
    """Evicts the expert that came in first; later uses change nothing."""

    cite = "Belady, A study of replacement algorithms, IBM Systems Journal 5(2), 1966"

    def __init__(self) -> None:
        self.queue: OrderedDict[int, None] = OrderedDict()

    def on_use(self, keys: Sequence[int], event: int) -> None:
        """Queue the keys that are new."""
        queue = self.queue
        for key in keys:
            if key not in queue:
                queue[key] = None

    def on_insert(self, key: int) -> None:
        """Queue a prefetched expert."""
        self.queue[key] = None

    def on_evict(self, key: int) -> None:
        """Forget ``key``."""
        self.queue.pop(key, None)

    def victim(self, blocked: Container[int]) -> int | None:
        """Return the first in the queue that is not blocked."""
        for key in self.queue:
            if key not in blocked:
                return key
        return None
