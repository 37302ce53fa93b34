"""Links: lanes that carry jobs, and the queues that they pick from (docs/timing.md §5)."""

from __future__ import annotations

from bisect import insort
from enum import Enum
from typing import Protocol

from simulator.engine.plan import LinkPlan, move_ns
from simulator.engine.processes.clock import Clock, Process, Signal
from simulator.engine.processes.rates import LaneFlow, Rates, work
from simulator.engine.processes.transfers import Job, Transfer


class Phase(Enum):
    """Where a job on a lane is."""

    IDLE = 0
    LATENCY = 1
    MOVING = 2
    BOUNDARY = 3
    PAUSED = 4
    COPYING = 5


class Watch(Protocol):
    """Who is told what a lane has moved."""

    def chunk_moved(self, job: Job, mark: int) -> None:
        """A job reached a boundary: ``mark`` bytes of it have moved."""

    def ended(self, job: Job) -> None:
        """A job ended, its copy included."""


class Link:
    """One link: its lanes, its two queues, the bytes that it moved, the time that it was busy (§5, §10)."""

    def __init__(self, clock: Clock, plan: LinkPlan, first_priority: int, rates: Rates, watch: Watch) -> None:
        self.clock, self.plan = clock, plan
        self.demand: list[Job] = []
        self.speculative: list[Job] = []
        self.moved_bytes = 0
        self.busy_before_ns = self.busy_since_ns = 0
        self.occupied = 0
        self.lanes = [Lane(self, first_priority + i, rates, watch) for i in range(plan.lanes)]
        rates.links.append((plan.lane_rate, plan.uses_dram, [lane.flow for lane in self.lanes]))

    def queue(self, job: Job) -> list[Job]:
        """Return the queue of a job's class."""
        return self.speculative if job.transfer.speculative else self.demand

    def put(self, job: Job) -> None:
        """Queue a job in its place: by the number of its piece, then by chunk (§5)."""
        insort(self.queue(job), job, key=lambda other: other.place)

    def withdraw(self, transfer: Transfer) -> list[Job]:
        """Take all waiting jobs of a transfer out, and return them."""
        queue = self.speculative if transfer.speculative else self.demand
        gone = [job for job in queue if job.transfer is transfer]
        for job in gone:
            queue.remove(job)
        return gone

    def idle(self) -> int:
        """Return how many lanes have no job."""
        return len(self.lanes) - self.occupied

    def occupy(self, change: int) -> None:
        """Note that a lane was taken (1) or left (-1); the link is busy while one is occupied (§10)."""
        if not self.occupied:
            self.busy_since_ns = int(self.clock.now)
        self.occupied += change
        if not self.occupied:
            self.busy_before_ns += int(self.clock.now) - self.busy_since_ns

    def busy_ns(self) -> int:
        """Return for how long at least one lane has been occupied, up to now (§10)."""
        return self.busy_before_ns + (int(self.clock.now) - self.busy_since_ns if self.occupied else 0)


class Lane:
    """One lane: a process that carries one job after another through its phases (§5).

    At a chunk boundary it waits until the picks say that it goes on, pauses, or leaves. ``mark`` is the
    boundary that was passed last. ``last`` is the job that it carried last, to its end at ``ended_ns``.
    """

    def __init__(self, link: Link, priority: int, rates: Rates, watch: Watch) -> None:
        self.link, self.priority, self.clock, self.watch = link, priority, link.clock, watch
        self.flow = LaneFlow(link.clock, priority, rates.anew.ask)
        self.job: Job | None = None
        self.phase = Phase.IDLE
        self.latency_ns = 0
        self.mark = 0
        self.last: Job | None = None
        self.ended_ns = -1
        self.woken: Signal | None = None
        self.clock.begin(self._life())

    # -- what the picks do (§1.3) -------------------------------------------------------------------

    def give(self, job: Job, latency_ns: int) -> None:
        """Take a job on."""
        self.job, self.latency_ns, self.mark = job, latency_ns, job.moved
        self.link.occupy(1)
        if latency_ns:
            self.phase = Phase.LATENCY
        else:
            self._move(job)
        self._wake()

    def go_on(self) -> None:
        """Go on past the boundary; after a pause, without latency (§7)."""
        if self.phase is Phase.PAUSED:
            self.flow.start(work(self.mark))
        self._enter(Phase.MOVING)
        self._wake()

    def pause(self) -> None:
        """Hold the lane at the boundary; progress past it is forgotten (§7)."""
        self.flow.stop()
        self._enter(Phase.PAUSED)

    def leave(self) -> Job:
        """Give the lane up at the boundary; progress past it is forgotten (§5). Return the job."""
        job = self.job
        assert job is not None
        if self.flow.moving:
            self.flow.stop()
        self._count(job, self.mark)
        self._free(job)
        self._wake()
        return job

    # -- the process ------------------------------------------------------------------------------

    def _life(self) -> Process:
        while True:
            while self.job is None:
                yield self._awaken()
            job = self.job
            if self.phase is Phase.LATENCY:
                yield self.clock.pause(self.latency_ns, self.priority)
                self._move(job)
            yield from self._carry(job)

    def _carry(self, job: Job) -> Process:
        """Move a job from boundary to boundary, copy what was read, and say that it ended (§5)."""
        while True:
            yield self.flow.reach(work(self._next_mark(job)))
            if self._pass_boundaries(job) == job.n_bytes:
                break
            mark = self.mark
            self._enter(Phase.BOUNDARY)
            yield self._awaken()
            if self.phase is not Phase.MOVING or self.mark != mark or self.job is not job:
                return
        self.flow.stop()
        self._count(job, job.n_bytes)
        if self.link.plan.copy_bytes_per_s:
            self._enter(Phase.COPYING)
            yield self.clock.pause(move_ns(job.n_bytes, self.link.plan.copy_bytes_per_s), self.priority)
        self.last, self.ended_ns = job, int(self.clock.now)
        self._free(job)
        self.watch.ended(job)

    def _pass_boundaries(self, job: Job) -> int:
        """Pass what was reached in this nanosecond: boundaries and the end, or, with slots, only one (§7).

        Return the mark that was passed last.
        """
        while self.flow.has_reached(work(mark := self._next_mark(job))):
            self.mark = mark
            if mark == job.n_bytes:
                break
            self.watch.chunk_moved(job, mark)
            if job.reads_ahead and job.transfer.staged:
                break
        return self.mark

    def _next_mark(self, job: Job) -> int:
        """Return the bytes at the next boundary at which somebody may act, or at the end."""
        plan = self.link.plan
        whole = job.reads_ahead and plan.copy_bytes_per_s  # no chunks on a first hop that copies (§7)
        if not plan.chunk_bytes or whole or not (job.transfer.speculative or job.reads_ahead):
            return job.n_bytes
        return min(job.n_bytes, (self.mark // plan.chunk_bytes + 1) * plan.chunk_bytes)

    def _move(self, job: Job) -> None:
        self.flow.block_bytes = job.n_bytes
        self.flow.start(work(job.moved))
        self._enter(Phase.MOVING)

    def _count(self, job: Job, n_bytes: int) -> None:
        """Count what has moved when the job stops moving (§10)."""
        self.link.moved_bytes += n_bytes - job.moved
        job.transfer.moved_bytes += n_bytes - job.moved
        job.moved = n_bytes

    def _free(self, job: Job) -> None:
        self._enter(Phase.IDLE)
        self.job = None
        self.link.occupy(-1)

    def _enter(self, phase: Phase) -> None:
        self.phase = phase

    def _awaken(self) -> Signal:
        self.woken = Signal(self.clock, self.priority)
        return self.woken

    def _wake(self) -> None:
        if self.woken is not None:
            self.woken.send()
            self.woken = None
