"""The reference run's expert cache: LRU over equal slots, written apart from the simulator's own."""

from __future__ import annotations

from collections.abc import Collection, Iterable


class ExpertCache:
    """Which expert is in which slot of memory; ``order`` is from least to most recently used.

    A key in ``flying`` has its slot, but not yet its bytes. ``pinned`` keys are those of the step that
    runs, ``shields`` says until which layer step a predicted one is spared.
    """

    def __init__(self, n_slots: int) -> None:
        self.free = list(reversed(range(n_slots)))
        self.slot: dict[int, int] = {}
        self.order: dict[int, None] = {}
        self.flying: set[int] = set()
        self.pinned: frozenset[int] = frozenset()
        self.shields: dict[int, int] = {}

    def use(self, keys: Iterable[int]) -> None:
        """Make the keys that are there the youngest, the last of them the very youngest."""
        for key in keys:
            if key in self.order:
                del self.order[key]
                self.order[key] = None

    def take(self, key: int, *, spare: bool) -> int | None:
        """Give ``key`` a slot, the least recently used one's if none is free; None if nobody can go.

        With ``spare`` no shielded expert goes; without, shielded ones go last.
        """
        if not self.free:
            victim = self._oldest(self.shields)
            if victim is None and not spare:
                victim = self._oldest(())
            if victim is None:
                return None
            del self.order[victim]
            self.free.append(self.slot.pop(victim))
        self.slot[key] = self.free.pop()
        self.order[key] = None
        self.flying.add(key)
        return self.slot[key]

    def _oldest(self, spared: Collection[int]) -> int | None:
        kept = self.pinned
        return next(
            (k for k in self.order if k not in kept and k not in self.flying and k not in spared), None
        )
