"""A link: lanes, two queues, and which job each lane carries (docs/timing.md §5 and §7)."""

from __future__ import annotations

from collections import deque

from simulator.engine.jobs import Job, Phase, Piece, Transfer
from simulator.engine.observe import Observer
from simulator.engine.plan import LinkPlan, move_ns


class Slots:
    """Host staging: chunk slots in DRAM for what passes through it; at most half are speculation's."""

    __slots__ = ("free", "most_speculative", "news", "queued", "returned", "speculative")

    def __init__(self, n: int) -> None:
        self.free = n
        self.most_speculative = n // 2
        self.speculative = 0
        self.returned = False
        self.queued = 0  # jobs queued so far on any link
        self.news = 0  # what may let a link pick that found nothing before

    def free_for(self, transfer: Transfer) -> bool:
        """Return whether a chunk of ``transfer`` finds a slot."""
        return self.free > 0 and (transfer.demand or self.speculative < self.most_speculative)

    def take(self, transfer: Transfer) -> None:
        """Give a slot to a chunk of ``transfer``."""
        self.free -= 1
        self.speculative += not transfer.demand

    def give_back(self, transfer: Transfer) -> None:
        """Return one slot; paused lanes are asked again when links pick."""
        self.free += 1
        self.speculative -= not transfer.demand
        self.returned = True
        self.news += 1


class Link:
    """One direction between two tiers. ``moved_bytes`` counts what was carried.

    ``busy_ns`` sums the finished spans in which some lane was occupied (docs/timing.md §10).
    """

    def __init__(self, plan: LinkPlan, slots: Slots) -> None:
        self.plan = plan
        self.slots = slots
        self.demand: deque[Job] = deque()
        self.speculative: deque[Job] = deque()
        self.lanes: list[Job | None] = [None] * plan.lanes
        self.last: list[tuple[Piece | None, int]] = [(None, -1)] * plan.lanes
        self.moved_bytes = 0
        self.active = 0
        self.busy_ns = 0
        self.busy_since = 0
        self.changed = False
        self.observer: Observer | None = None

    def queue(self, job: Job) -> None:
        """Put a job in its class's queue: a piece last, a chunk on a second hop where its piece stands."""
        self.changed = True
        self.slots.queued += 1
        self.slots.news += 1
        queue = self.demand if job.piece.transfer.demand else self.speculative
        number = job.piece.number
        if not job.second_hop:
            job.piece.number = self.slots.queued
        elif queue and queue[-1].piece.number > number:
            queue.insert(next(i for i, other in enumerate(queue) if other.piece.number > number), job)
            return
        queue.append(job)

    def _put_back(self, job: Job) -> None:
        """Return a job that gave its lane up to its place: before all that was queued after it."""
        queue, mine = self.speculative, (job.piece.number, job.chunk)
        place = (i for i, other in enumerate(queue) if (other.piece.number, other.chunk) > mine)
        queue.insert(next(place, len(queue)), job)

    def moving(self) -> list[Job]:
        """Return the jobs in the moving phase, lane by lane."""
        return [job for job in self.lanes if job is not None and job.phase is Phase.MOVING]

    def busy_until(self, now: int) -> int:
        """Return for how long some lane has been occupied up to ``now``."""
        return self.busy_ns + (now - self.busy_since if self.active else 0)

    def _enter(self, lane: int, job: Job, phase: Phase, now: int) -> None:
        """Put the job of a lane into a phase; WAITING: it has left the lane."""
        job.phase = phase
        self.changed = True
        if self.observer is not None:
            self.observer.carried(self, lane, job, now)

    # -- phase 1: transfers end -------------------------------------------------------------------

    def complete(self, now: int) -> None:
        """End the phases that end at ``now``, lane by lane."""
        for lane, job in enumerate(self.lanes):
            if job is None or job.finish != now or job.phase is Phase.PAUSED:
                continue
            if job.phase is Phase.LATENCY:
                job.since = now
                self._enter(lane, job, Phase.MOVING, now)
            elif job.phase is Phase.MOVING:
                self._moved(lane, job, now)
            else:
                self._end(lane, job, now)

    def _moved(self, lane: int, job: Job, now: int) -> None:
        job.progress(now)
        self.changed = True
        transfer = job.piece.transfer
        if len(transfer.hops) == 2 and not job.second_hop:
            while (
                job.forwarded + job.chunk_work < job.total
                and job.total - job.left >= job.forwarded + job.chunk_work
            ):
                job.forwarded += job.chunk_work
                self._forward(job, job.chunk_work)
                if transfer.needs_slots:  # the next chunk starts when links pick, if there is a slot
                    job.at_boundary = True
                    return
        if job.left > 0:
            job.at_boundary = True
            return
        self._count(job, job.bytes - job.counted)
        if self.plan.copy_bytes_per_s:
            job.finish = now + move_ns(job.bytes, self.plan.copy_bytes_per_s)
            self._enter(lane, job, Phase.COPYING, now)
        else:
            self._end(lane, job, now)

    def _end(self, lane: int, job: Job, now: int) -> None:
        """A job has done all it had to do on this link."""
        transfer = self._release(lane, job, now)
        piece = job.piece
        if job.second_hop or len(transfer.hops) == 1:
            if job.second_hop and transfer.needs_slots:
                self.slots.give_back(transfer)
            piece.chunks_left -= 1
            if piece.chunks_left == 0 and not transfer.cancelled:
                self._land(piece)
        else:
            self._read(piece)
            self._forward(job, job.total - job.forwarded)

    def _land(self, piece: Piece) -> None:
        transfer = piece.transfer
        if len(transfer.hops) == 1:
            self._read(piece)
        transfer.pieces[piece.stage] -= 1
        if transfer.pieces[piece.stage] == 0:
            transfer.landed(transfer, piece.stage)

    def _read(self, piece: Piece) -> None:
        transfer = piece.transfer
        transfer.reading[piece.stage] -= 1
        if transfer.was_read is not None and not any(transfer.reading) and not transfer.cancelled:
            transfer.was_read(transfer)

    def _forward(self, job: Job, work: int) -> None:
        """Queue the chunk that was just read on the second hop."""
        transfer = job.piece.transfer
        if transfer.cancelled or transfer.stopped:
            if transfer.needs_slots:
                self.slots.give_back(transfer)
            return
        n_bytes = work // (job.total // job.bytes)
        second = transfer.hops[1]
        second.queue(Job(job.piece, n_bytes, second.plan.chunk_bytes, second_hop=True))

    def _release(self, lane: int, job: Job, now: int) -> Transfer:
        transfer = job.piece.transfer
        self.lanes[lane] = None
        self.active -= 1
        if not self.active:
            self.busy_ns += now - self.busy_since
        self.last[lane] = (job.piece, now)
        self._enter(lane, job, Phase.WAITING, now)
        return transfer

    def _count(self, job: Job, n_bytes: int) -> None:
        self.moved_bytes += n_bytes
        job.piece.transfer.moved_bytes += n_bytes

    # -- phase 3: the link picks ------------------------------------------------------------------

    def pick(self, now: int) -> None:
        """Give lanes up at boundaries, fill idle ones, and set when each job is heard of next."""
        if not (self.demand or self.speculative or self.changed or self.slots.returned):
            return
        self._at_boundaries(now)
        self.fill(now)

    def resume(self, now: int) -> None:
        """Let paused lanes go on that find a slot now."""
        for lane, job in enumerate(self.lanes):
            if job is not None and job.phase is Phase.PAUSED:
                self._next_slot(lane, job, now)

    def fill(self, now: int) -> None:
        """Start waiting jobs on idle lanes, lowest lane first."""
        if self.demand or self.speculative:
            for lane, job in enumerate(self.lanes):
                if job is None:
                    self._fill(lane, now)

    def _at_boundaries(self, now: int) -> None:
        """Let jobs that are held give their lanes up, cancelled ones first, or go on if there is a slot."""
        held = [
            (lane, job) for lane, job in enumerate(self.lanes) if job is not None and self._is_held(job, now)
        ]
        for lane, job in held:
            if job.piece.transfer.cancelled and not job.second_hop:
                self._give_up(lane, job, now)
        idle = self.lanes.count(None)
        preempts = self.plan.preemption == "chunk"
        for lane, job in held:
            transfer = job.piece.transfer
            at_boundary, job.at_boundary = job.at_boundary, False
            if self.lanes[lane] is None:
                continue
            if at_boundary and preempts and not transfer.demand and self._waiting() > idle:
                self._give_up(lane, job, now)
                idle += 1
                if not transfer.cancelled:
                    self._put_back(job)
                elif transfer.needs_slots:  # a chunk on its second hop
                    self.slots.give_back(transfer)
            elif not job.second_hop and len(transfer.hops) == 2 and transfer.needs_slots:
                self._next_slot(lane, job, now)

    def _is_held(self, job: Job, now: int) -> bool:
        """Return whether a job is at a boundary in this nanosecond, or paused at one."""
        may_be = job.phase is Phase.MOVING and not job.piece.transfer.demand and self.plan.chunk_bytes
        if may_be and not job.at_boundary and job.since != now:
            job.progress(now)
            self.changed = True
            job.at_boundary = job.passed_boundary(now)
        return job.at_boundary or job.phase is Phase.PAUSED

    def _give_up(self, lane: int, job: Job, now: int) -> None:
        """Take a job off its lane at its last boundary."""
        job.back_to_boundary()
        self._count(job, job.count())
        self._release(lane, job, now)

    def _next_slot(self, lane: int, job: Job, now: int) -> None:
        if self.slots.free_for(job.piece.transfer):
            self.slots.take(job.piece.transfer)
            if job.phase is Phase.PAUSED:
                job.since = now
                self._enter(lane, job, Phase.MOVING, now)
        elif job.phase is Phase.MOVING:
            job.back_to_boundary()
            self._enter(lane, job, Phase.PAUSED, now)

    def _startable(self, job: Job) -> bool:
        transfer = job.piece.transfer
        return job.second_hop or not transfer.needs_slots or self.slots.free_for(transfer)

    def _waiting(self) -> int:
        """Return how many demand jobs wait for a lane and for nothing else."""
        slots = self.slots.free
        for n, job in enumerate(self.demand):
            slots -= job.piece.transfer.needs_slots and not job.second_hop
            if slots < 0:
                return n
        return len(self.demand)

    def _fill(self, lane: int, now: int) -> None:
        if self.plan.preemption == "none" and self._goes_on(lane, now):
            return
        if self.demand and self._startable(self.demand[0]):
            self._start(lane, self.demand.popleft(), now)
            return
        while self.speculative:
            job = self.speculative[0]
            transfer = job.piece.transfer
            if transfer.entered < len(transfer.hops) and transfer.hops[transfer.entered] is self:
                assert transfer.begin is not None
                begun = transfer.begin(transfer, self)
                if begun is None:
                    return
                self.slots.news += 1
                if not begun:
                    continue
                transfer.entered += 1
            if self._startable(job):
                self._start(lane, self.speculative.popleft(), now)
            return

    def _goes_on(self, lane: int, now: int) -> bool:
        """Start the next chunk of the piece that a lane has just carried a chunk of, if it waits."""
        piece, ended = self.last[lane]
        if ended == now and self.speculative:
            for job in self.speculative:
                if job.piece is piece and job.second_hop:
                    self.speculative.remove(job)
                    self._start(lane, job, now)
                    return True
        return False

    def _start(self, lane: int, job: Job, now: int) -> None:
        transfer = job.piece.transfer
        if transfer.needs_slots and not job.second_hop:
            self.slots.take(transfer)
        seamless = job.second_hop and job.left == job.total and self.last[lane] == (job.piece, now)
        latency = 0 if seamless else self.plan.latency_ns
        self.lanes[lane] = job
        if not self.active:
            self.busy_since = now
        self.active += 1
        job.since = now
        job.finish = now + latency
        self._enter(lane, job, Phase.LATENCY if latency else Phase.MOVING, now)

    # -- prefetches that are not wanted any more --------------------------------------------------

    def forget(self, transfer: Transfer) -> None:
        """Take a prefetch's waiting jobs out of the queue; chunks on the second hop return their slots."""
        kept: deque[Job] = deque()
        for job in self.speculative:
            if job.piece.transfer is not transfer:
                kept.append(job)
            elif job.second_hop and transfer.needs_slots:
                self.slots.give_back(transfer)
        self.speculative = kept
        self.changed = True

    def leave_paused(self, transfer: Transfer, now: int) -> None:
        """Take a cancelled prefetch off the lanes on which it waits for a slot."""
        for lane, job in enumerate(self.lanes):
            if job is not None and job.phase is Phase.PAUSED and job.piece.transfer is transfer:
                self._count(job, job.count())
                self._release(lane, job, now)

    # -- rates -----------------------------------------------------------------------------------

    def asks(self) -> list[tuple[Job, int]]:
        """Return the moving jobs with the rate each asks for, lane by lane."""
        moving = self.moving()
        return [(job, self.plan.lane_rate(job.bytes, len(moving))) for job in moving]

    def grant(self, job: Job, rate: int, now: int) -> None:
        """Give a moving job its rate from ``now`` on, and set when it is heard of next."""
        job.progress(now)
        job.rate = rate
        transfer = job.piece.transfer
        hears = (not job.second_hop and (transfer.cancelled or len(transfer.hops) == 2)) or (
            not transfer.demand and self.plan.preemption == "chunk" and self._waiting() > 0
        )
        job.target(job.next_boundary() if hears else 0, now)
