"""Eviction by places in lists, as caches of blocks, pages and files have it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Container, Iterable, Sequence

from policies.base import Eviction

Keys = OrderedDict[int, None]


class Listed(Eviction):
    """Keeps experts in lists, and remembers in others (ghosts) who left.

    The lists' sizes are shares of ``room``, the number of experts that were there when the step began.
    Nothing is evicted before the pool is full, so this is all that fits. A step's arrivals (``fresh``)
    count when it is over. Who leaves tells which blocked experts were passed over, so ``on_evict`` needs no
    more than the key. A prefetched expert enters as a demanded one does.
    """

    def __init__(self) -> None:
        self.room = 0
        self.full = False
        self.fresh: set[int] = set()

    def present(self) -> Sequence[Collection[int]]:
        """Return the lists of who is here."""
        raise NotImplementedError

    def touch(self, key: int) -> None:
        """Note a use of an expert that is here."""
        raise NotImplementedError

    def enter(self, key: int) -> None:
        """Take in an expert that is not here."""
        raise NotImplementedError

    def leave(self, key: int) -> None:
        """Let an expert go that is here."""
        raise NotImplementedError

    def on_use(self, keys: Sequence[int], event: int) -> None:
        """Note uses, and take in who is new."""
        self.room = self._count()
        self.fresh = {key for key in keys if not self._holds(key)}
        for key in keys:
            (self.touch if self._holds(key) else self.enter)(key)

    def on_insert(self, key: int) -> None:
        """Take in a prefetched expert."""
        if not self._holds(key):
            self.enter(key)
        self.room = max(self.room, self._count() - len(self.fresh))

    def on_evict(self, key: int) -> None:
        """Let ``key`` go, if it is here."""
        if not self._holds(key):
            return
        self.full = self.full or key not in self.fresh
        self.leave(key)
        self.fresh.discard(key)

    def share(self, of_room: float) -> int:
        """Return a share of the room in experts, at least one."""
        return max(1, int(of_room * self.room))

    def settled(self, keys: Collection[int]) -> int:
        """Return how many of a list were here when the step began."""
        return len(keys) - sum(key in keys for key in self.fresh)

    def _holds(self, key: int) -> bool:
        return any(key in keys for keys in self.present())

    def _count(self) -> int:
        return sum(map(len, self.present()))


def first(keys: Iterable[int], blocked: Container[int]) -> int | None:
    """Return the first of ``keys`` that is not blocked; None if there is none."""
    return next((key for key in keys if key not in blocked), None)


def push(ghosts: Keys, key: int, most: int) -> None:
    """Remember who left, the latest ``most`` of them."""
    ghosts[key] = None
    ghosts.move_to_end(key)
    while len(ghosts) > most:
        ghosts.popitem(last=False)
