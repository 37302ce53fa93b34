"""The host thread: when the software has made its calls (docs/timing.md §11)."""

from __future__ import annotations

from simulator.engine.demand import Launches
from simulator.engine.plan import HostPlan


class Host:
    """The time H at which the last of the host's calls ended.

    It is a time and no process, because the host runs ahead of the main unit: when the main unit comes to an
    item, the calls that issued it may have ended long ago.
    """

    def __init__(self, plan: HostPlan) -> None:
        self.plan = plan
        self.ended_ns = 0

    def synchronise(self, now_ns: int) -> None:
        """Begin a pass: its tokens had to be known."""
        self.ended_ns = now_ns

    def issue(self, launches: Launches | None, *items: str, layer: int = -1) -> int:
        """Issue items; return when they may start."""
        if launches is not None:
            self.ended_ns += sum(launches.of(item, layer) for item in items)
        return self.ended_ns

    def see_routing(self, now_ns: int) -> int:
        """See the routing after a round trip; return when."""
        self.ended_ns = max(self.ended_ns, now_ns) + self.plan.round_trip_ns
        return self.ended_ns

    def call(self, now_ns: int, ns: int) -> int:
        """Make calls, or keep books, of ``ns`` from now on; return when they ended. 0 ns move nothing."""
        if not ns:
            return now_ns
        self.ended_ns = max(self.ended_ns, now_ns) + ns
        return self.ended_ns

    def waited(self, now_ns: int, *, blocks: bool) -> None:
        """Note that the main unit has waited up to now for what blocks the host's thread, if it does."""
        if blocks:
            self.ended_ns = max(self.ended_ns, now_ns)
