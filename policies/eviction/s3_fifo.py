"""S3-FIFO: a small queue sieves out who is used once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container, Sequence
from itertools import chain
from typing import Annotated

from pydantic import Field

from policies.eviction.listed import Keys, Listed, first, push

Counts = OrderedDict[int, int]
MOST = 3
AGAIN = 2
"""So many uses after its arrival take an expert from the small queue to the main one."""


class S3FIFO(Listed):
    """Evicts who was used less than twice since it came (small queue), or not at all (main queue).

    Who leaves the small queue is remembered, and enters the main one when it is demanded again. The main
    queue gives who was used another round for each use, up to three. It is drawn from when it is above its
    share, or when the small one has nobody to give. A blocked expert stays in the small queue, and goes
    round in the main.
    """

    cite = "Yang et al., FIFO queues are all you need for cache eviction, SOSP 2023, algorithm 1"

    def __init__(self, small: Annotated[float, Field(gt=0, lt=1)] = 0.1) -> None:
        super().__init__()
        self.small_share = small
        self.small, self.main, self.ghosts = Counts(), Counts(), Keys()

    def present(self) -> Sequence[Counts]:
        """Return both queues."""
        return self.small, self.main

    def touch(self, key: int) -> None:
        """Count a use."""
        queue = self.small if key in self.small else self.main
        queue[key] = min(MOST, queue[key] + 1)

    def enter(self, key: int) -> None:
        """Join the main queue if the expert is remembered, else the small one."""
        came_back = self.ghosts.pop(key, key) is None
        (self.main if came_back else self.small)[key] = 0

    def leave(self, key: int) -> None:
        """Let the queues go round as far as ``key``, unless it is bypassed, and take it out."""
        if key not in self.fresh and not self._from_main():
            self._promote(key if self.small.get(key, AGAIN) < AGAIN else None)
        if self.small.pop(key, None) is not None:
            push(self.ghosts, key, self._main_share())
        else:
            self._go_round(key)
            del self.main[key]
        for arrival in [at for at in self.main if at in self.fresh]:
            self.main.move_to_end(arrival)  # this step's come last

    def victim(self, blocked: Container[int]) -> int | None:
        """Return the first of the small queue that is not promoted, or who leaves the main queue first."""
        promoted: list[int] = []
        if not self._from_main():
            found = first((key for key, uses in self.small.items() if uses < AGAIN), blocked)
            if found is not None:
                return found
            promoted = [key for key, uses in self.small.items() if uses >= AGAIN]
        rounds = chain(self.main.items(), ((key, 0) for key in promoted))
        free = [(uses, key) for key, uses in rounds if key not in blocked]
        if free:
            return min(free, key=lambda pair: pair[0])[1]
        return first(self.small, blocked)

    def _from_main(self) -> bool:
        return self.settled(self.main) > self._main_share() or not self.settled(self.small)

    def _main_share(self) -> int:
        return max(0, self.room - self.share(self.small_share))

    def _go_round(self, key: int) -> None:
        """Give who is before ``key`` in the main queue another round, and ``key`` as many as it was used."""
        while key not in self.fresh:
            at, uses = next(iter(self.main.items()))
            if at == key and not uses:
                return
            self.main[at] = max(0, uses - 1)
            self.main.move_to_end(at)

    def _promote(self, before: int | None) -> None:
        """Move those ahead of ``before`` (None: all) that were used enough to the main queue."""
        for key, uses in list(self.small.items()):
            if key == before:
                return
            if uses >= AGAIN:
                del self.small[key]
                self.main[key] = 0
