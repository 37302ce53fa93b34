"""Links pick: who leaves a lane, who goes on, and who starts (docs/timing.md §1.3, §5, §7)."""

from __future__ import annotations

from collections.abc import Sequence

from simulator.engine.processes.carrier import Carrier
from simulator.engine.processes.links import Lane, Link, Phase
from simulator.engine.processes.speculation import Speculation
from simulator.engine.processes.transfers import Fate, Job


class Picks:
    """Picks for all links, until nothing changes."""

    def __init__(self, links: Sequence[Link], carrier: Carrier, speculation: Speculation) -> None:
        self.links, self.carrier, self.speculation = links, carrier, speculation
        self.changed = False

    def pick(self) -> None:
        """Let every link pick, link by link, again and again until nothing changes (§1)."""
        self.changed = True
        while self.changed:
            self.changed = False
            for link in self.links:
                self._leave(link)
                self._go_on(link)
                self._start(link)

    def _leave(self, link: Link) -> None:
        """Take jobs off lanes at boundaries: cancelled ones, then those that give way to demand (§5)."""
        for lane in link.lanes:
            if lane.phase is Phase.BOUNDARY and lane.job is not None and _is_stopped(lane.job):
                lane.leave()
                self.changed = True
        for lane in link.lanes:
            if lane.phase is Phase.BOUNDARY and self._gives_way(lane):
                job = lane.leave()
                self.changed = True
                if job.transfer.fate is Fate.STOPPED:  # a chunk that is on no lane any more (§7)
                    self.carrier.free_slot(job)
                else:
                    link.put(job)

    def _gives_way(self, lane: Lane) -> bool:
        """Return whether a speculative job at a boundary leaves its lane to a demand job (§5)."""
        link, job = lane.link, lane.job
        assert job is not None
        preempts = link.plan.preemption == "chunk" and job.transfer.speculative
        return preempts and self._could_start(link) > link.idle()

    def _could_start(self, link: Link) -> int:
        """Return how many demand jobs wait that have, or could get, the slots that they need (§5)."""
        slots = self.carrier.staging.free
        for n, job in enumerate(link.demand):
            slots -= self._needs_slot(job)
            if slots < 0:
                return n
        return len(link.demand)

    def _go_on(self, link: Link) -> None:
        """Have lanes at boundaries go on, or pause where there is no slot (§7)."""
        for lane in link.lanes:
            if lane.phase in {Phase.BOUNDARY, Phase.PAUSED} and lane.job is not None:
                if self._has_slot(lane.job):
                    lane.go_on()
                    self.changed = True
                elif lane.phase is Phase.BOUNDARY:
                    lane.pause()

    def _start(self, link: Link) -> None:
        """Have idle lanes take jobs, lowest first (§1.3)."""
        for lane in link.lanes:
            if lane.job is None and (job := self._next(lane)) is not None:
                lane.give(job, self._latency_ns(lane, job))
                self.changed = True

    def _next(self, lane: Lane) -> Job | None:
        """Take the first job that may start out of the queues: demand before speculative (§5)."""
        link = lane.link
        if (job := self._goes_on_with(lane)) is not None:
            link.speculative.remove(job)
            return job
        for queue in (link.demand, link.speculative):
            while queue:
                job = queue[0]
                may = self._may_start(job)
                if may:
                    queue.remove(job)
                    return job
                if may is False:
                    break
        return None

    def _goes_on_with(self, lane: Lane) -> Job | None:
        """Without preemption, a lane that ends a speculative chunk goes on with its piece (§7, "Hop 2")."""
        last = lane.last
        now = int(lane.clock.now)
        if (
            last is None
            or not last.second_hop
            or lane.ended_ns != now
            or lane.link.plan.preemption == "chunk"
        ):
            return None
        return next((job for job in lane.link.speculative if job.piece is last.piece), None)

    def _may_start(self, job: Job) -> bool | None:
        """Return whether a job may start; False: it blocks its queue; None: it was removed (§5, §7)."""
        transfer, speculation = job.transfer, self.speculation
        if transfer.speculative and transfer.fate is Fate.GOES_ON:
            if job.reads_ahead:
                if not transfer.asked:
                    if not speculation.may_read_ahead():
                        return False
                    if not speculation.read(transfer):
                        self.changed = True
                        return None
            elif not transfer.kept and not speculation.start(transfer):
                self.changed = True
                return None
        return self._has_slot(job)

    def _has_slot(self, job: Job) -> bool:
        """Return whether a chunk has its slot of host staging, or gets one now, or needs none (§7)."""
        if self._needs_slot(job):
            job.slot = self.carrier.staging.take(speculative=job.transfer.speculative)
            return job.slot
        return True

    def _needs_slot(self, job: Job) -> bool:
        return job.reads_ahead and job.transfer.staged and not job.slot

    def _latency_ns(self, lane: Lane, job: Job) -> int:
        """Return the latency that a job pays: none where a lane goes on with a piece (§7)."""
        last = lane.last
        goes_on = (
            last is not None
            and job.second_hop
            and lane.ended_ns == int(lane.clock.now)
            and last.piece is job.piece
            and not job.moved
        )
        return 0 if goes_on else lane.link.plan.latency_ns


def _is_stopped(job: Job) -> bool:
    """Return whether a job leaves at the next boundary; a chunk on its second hop finishes (§7)."""
    return job.transfer.fate is Fate.STOPPED and not job.second_hop
