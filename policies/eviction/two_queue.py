"""2Q: a queue for newcomers, an LRU for those who come back."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Annotated

from pydantic import Field

from policies.eviction.listed import Keys, Listed, first, push

Share = Annotated[float, Field(gt=0, lt=1)]


class TwoQueue(Listed):
    """Evicts the oldest newcomer while newcomers fill more than a share, else the least recent other.

    A newcomer is remembered when it goes. If it is demanded while it is remembered, it enters the LRU.
    """

    cite = "Johnson and Shasha, 2Q, VLDB 1994 (full version; Kin 25 %, Kout 50 %)"

    def __init__(self, newcomers: Share = 0.25, remembered: Share = 0.5) -> None:
        super().__init__()
        self.newcomers, self.remembered = newcomers, remembered
        self.new, self.back, self.ghosts = Keys(), Keys(), Keys()

    def present(self) -> Sequence[Keys]:
        """Return the queue and the LRU."""
        return self.new, self.back

    def touch(self, key: int) -> None:
        """Make one of the LRU the most recent; a newcomer keeps its place."""
        if key in self.back:
            self.back.move_to_end(key)

    def enter(self, key: int) -> None:
        """Join the LRU if the expert is remembered, else the newcomers."""
        came_back = self.ghosts.pop(key, key) is None
        (self.back if came_back else self.new)[key] = None

    def leave(self, key: int) -> None:
        """Remember a newcomer; forget the others."""
        if key in self.new:
            del self.new[key]
            push(self.ghosts, key, self.share(self.remembered))
        else:
            del self.back[key]

    def victim(self, blocked: Container[int]) -> int | None:
        """Return the oldest newcomer or the least recent of the others, as the newcomers' share has it."""
        crowded = self.settled(self.new) > self.share(self.newcomers)
        found = first(self.new if crowded else self.back, blocked)
        return first(self.back if crowded else self.new, blocked) if found is None else found
