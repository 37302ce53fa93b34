"""The host thread: what an engine's software costs before and beside the work itself (docs/timing.md §11)."""

from __future__ import annotations

from simulator.engine.decide import Decision
from simulator.engine.demand import Launches
from simulator.engine.plan import HostPlan


class Host:
    """A thread that makes its calls one after another; ``now`` is when the last of them ended.

    The player asks ``issued`` and ``called`` for the time that its main unit has to wait for.
    """

    __slots__ = ("launches", "now", "plan")

    def __init__(self, plan: HostPlan) -> None:
        self.plan = plan
        self.now = 0
        self.launches: Launches | None = None

    def start(self, now: int, launches: Launches | None) -> None:
        """Begin a pass: its tokens had to be known."""
        self.now, self.launches = now, launches

    def sees(self, layer: int) -> bool:
        """Return whether the host waits for the routing of a layer."""
        return self.launches is not None and self.launches.seen[layer]

    def issued(self, ns: int) -> int:
        """Issue an item; return when."""
        self.now += ns
        return self.now

    def called(self, main: int, ns: int) -> int:
        """Make calls that cannot begin before ``main``; return when they ended."""
        if ns:
            self.now = max(self.now, main) + ns
            return self.now
        return main

    def books(self, decision: Decision) -> int:
        """Return what it takes to keep account of an event."""
        plan = self.plan
        return (
            plan.lookup_ns * len(decision.event.keys)
            + plan.miss_ns * (len(decision.fetch) + len(decision.cpu))
            + plan.evict_ns * decision.evictions
        )

    def waited(self, now: int) -> None:
        """Hold the host up to the end of a wait."""
        self.now = max(self.now, now)
