"""Links, CPU helper and shared DRAM, played forward to a given nanosecond.

Nothing here runs by itself: whoever makes decisions calls ``advance`` up to the time of the
decision, which plays everything that happens before it, in the order of docs/timing.md §1. A
completion is a promise that is revised when rates change; the next event is the smallest promise.
"""

from __future__ import annotations

from simulator.engine.helper import Helper
from simulator.engine.jobs import Phase
from simulator.engine.link import Link, Slots
from simulator.engine.observe import Observer
from simulator.engine.plan import MachinePlan


class Fabric:
    """All that moves bytes or computes beside the main unit."""

    def __init__(self, machine: MachinePlan, host_staging_chunks: int) -> None:
        self.now = 0
        self.slots = Slots(host_staging_chunks)
        self.links = [Link(plan, self.slots) for plan in machine.links]
        self.helper = Helper()
        self.dram = machine.dram_bytes_per_s
        self.observer: Observer | None = None

    def link(self, source: int, target: int) -> Link | None:
        """Return the link between two tiers, if there is one."""
        return next((x for x in self.links if (x.plan.source, x.plan.target) == (source, target)), None)

    def advance(self, until: int) -> None:
        """Play to ``until``: all that happens before it, and the completions at it (not the picks)."""
        while self.now < until:
            if self.helper.group is None and not any(
                x.active or x.demand or x.speculative for x in self.links
            ):
                self.now = until
                return
            self._settle()
            nxt = self._next()
            if nxt is None or nxt > until:
                self.now = until
                return
            self._complete(nxt)

    def step(self) -> bool:
        """Play to the next completion; return whether there was one."""
        self._settle()
        nxt = self._next()
        if nxt is None:
            return False
        self._complete(nxt)
        return True

    def _complete(self, now: int) -> None:
        self.now = now
        for link in self.links:
            link.complete(now)
        self.helper.complete(now)
        if self.observer is not None:
            self.observer.settled(self)

    def _next(self) -> int | None:
        first: int | None = None
        for link in self.links:
            for job in link.lanes:
                if (
                    job is not None
                    and job.phase is not Phase.PAUSED
                    and (first is None or job.finish < first)
                ):
                    first = job.finish
        helper = self.helper
        if helper.group is not None and (first is None or helper.finish < first):
            first = helper.finish
        return first

    def _settle(self) -> None:
        """Links pick, then rates are set; does nothing where nothing changed."""
        news = self.slots.news
        for link in self.links:
            link.pick(self.now)
        while self.slots.news != news:  # a prefetch that begins or is removed may let a link pick again
            news = self.slots.news
            for link in self.links:
                link.resume(self.now)
                link.fill(self.now)
        self.slots.returned = False
        if self.dram and (self.helper.changed or any(x.changed and x.plan.uses_dram for x in self.links)):
            self._share_dram()
        for link in self.links:
            if link.changed:
                link.changed = False
                if not (self.dram and link.plan.uses_dram):
                    for job, ask in link.asks():
                        link.grant(job, ask, self.now)
        if self.helper.changed and not self.dram and self.helper.group is not None:
            self.helper.grant(self.helper.ask, self.now)
        self.helper.changed = False
        if self.observer is not None:
            self.observer.settled(self)

    def _share_dram(self) -> None:
        """Max-min shares of the DRAM rate among those who ask for more than there is."""
        asks = [(ask, link, job) for link in self.links if link.plan.uses_dram for job, ask in link.asks()]
        users: list[tuple[int, int]] = [(ask, i) for i, (ask, _, _) in enumerate(asks)]
        if self.helper.group is not None:
            users.append((self.helper.ask, len(asks)))
        left = self.dram
        enough = sum(ask for ask, _ in users) <= left
        for n, (ask, i) in enumerate(sorted(users)):
            rate = ask if enough else max(1, min(ask, left // (len(users) - n)))
            left -= rate
            if i < len(asks):
                asks[i][1].grant(asks[i][2], rate, self.now)
            else:
                self.helper.grant(rate, self.now)
