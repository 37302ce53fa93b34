"""Host staging: the slots through which chunks pass that tier 1 did not take in (docs/timing.md §7)."""

from __future__ import annotations

from collections.abc import Callable

import simpy


class Staging:
    """Slots for chunks (§7), as a SimPy container; speculative chunks hold half of them at most."""

    def __init__(self, env: simpy.Environment, slots: int, freed: Callable[[], None]) -> None:
        self.slots = simpy.Container(env, capacity=slots, init=slots)
        self.for_speculation = slots // 2
        self.speculative = 0
        self.freed = freed

    @property
    def free(self) -> int:
        """Slots that nobody holds."""
        return int(self.slots.level)

    def take(self, *, speculative: bool) -> bool:
        """Take a slot if there is one for this class; return whether there was."""
        if not self.slots.level or (speculative and self.speculative == self.for_speculation):
            return False
        self.slots.get(1)
        self.speculative += speculative
        return True

    def give_back(self, *, speculative: bool) -> None:
        """Return a slot: who is paused or blocked may go on."""
        self.slots.put(1)
        self.speculative -= speculative
        self.freed()
