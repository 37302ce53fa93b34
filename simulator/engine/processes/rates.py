"""Rates: what moves or is computed, and who gets how much of what (docs/timing.md §6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import simpy

from simulator.engine.plan import NS_PER_S, ceil_div
from simulator.engine.processes import clock as order
from simulator.engine.processes.clock import Alarm, Clock, Once


class Flow:
    """Progress towards a mark, exact (§5): in bytes/s times ns, so that no quotient is rounded on the way.

    ``ask`` is the rate that it has alone; ``rate`` what it gets. While it is not ``moving`` it gets nothing.
    """

    def __init__(self, clock: Clock, priority: int, changed: Callable[[], None]) -> None:
        self.clock, self.changed = clock, changed
        self.alarm = Alarm(clock, priority)
        self.moving = False
        self.ask = self.rate = 0
        self.done = self.mark = self.since = 0

    def start(self, done: int) -> None:
        """Begin to move, or go on after a pause, from ``done``."""
        self.done, self.since = done, int(self.clock.now)
        self.moving, self.rate = True, 0
        self.changed()

    def stop(self) -> None:
        """Move no longer."""
        self.moving, self.rate = False, 0
        self.alarm.off()
        self.changed()

    def reach(self, mark: int) -> simpy.Event:
        """Return the event of the first whole nanosecond at which progress suffices for ``mark``."""
        self.mark = mark
        reached = self.alarm.wait()
        self._aim()
        return reached

    def has_reached(self, mark: int) -> bool:
        """Return whether progress suffices for ``mark``."""
        self._catch_up()
        return self.done >= mark

    def go_at(self, rate: int) -> None:
        """Go on at another rate."""
        if rate != self.rate:
            self._catch_up()
            self.rate = rate
            self._aim()

    def _catch_up(self) -> None:
        now = int(self.clock.now)
        self.done += self.rate * (now - self.since)
        self.since = now

    def _aim(self) -> None:
        self._catch_up()
        if self.rate:
            self.alarm.set(self.since + max(0, ceil_div(self.mark - self.done, self.rate)))


class LaneFlow(Flow):
    """What a lane moves; ``block_bytes`` is the whole job, whatever of it has moved before."""

    block_bytes = 0


class Rates:
    """Who moves at which rate: worked out anew, after the links have picked, when a user starts or stops."""

    def __init__(self, clock: Clock, dram_bytes_per_s: int) -> None:
        self.dram_bytes_per_s = dram_bytes_per_s
        self.anew = Once(clock, order.RATES, self._share)
        self.links: list[tuple[Callable[[int, int], int], bool, Sequence[LaneFlow]]] = []
        self.helper: Flow | None = None
        self.settled: Callable[[], None] | None = None

    def _share(self) -> None:
        """Give every lane its rate, and those that read DRAM no more than there is (§6)."""
        users: list[Flow] = []
        for lane_rate, uses_dram, flows in self.links:
            moving = [flow for flow in flows if flow.moving]
            for flow in moving:
                flow.ask = lane_rate(flow.block_bytes, len(moving))
                if uses_dram:
                    users.append(flow)
                else:
                    flow.go_at(flow.ask)
        if self.helper is not None and self.helper.moving:
            users.append(self.helper)
        self._share_dram(users)
        if self.settled is not None:
            self.settled()

    def _share_dram(self, users: list[Flow]) -> None:
        """Give each what it asks for, or max-min shares of DRAM's rate (§6)."""
        remaining = self.dram_bytes_per_s
        if not remaining or sum(flow.ask for flow in users) <= remaining:
            for flow in users:
                flow.go_at(flow.ask)
            return
        for i, flow in enumerate(sorted(users, key=lambda flow: flow.ask)):
            share = min(flow.ask, remaining // (len(users) - i))
            remaining -= share
            flow.go_at(max(1, share))


def work(n_bytes: int) -> int:
    """Return the progress that ``n_bytes`` are."""
    return n_bytes * NS_PER_S
