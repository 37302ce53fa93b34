"""The slow, plain engine: docs/timing.md done literally, one nanosecond's phases after another.

No event queue, no promises that are revised: at every time at which anything may happen the clock
stops, each lane of each link is looked at in order (transfers), then the CPU helper and the main
unit (compute and decisions), then the links pick; then rates are recomputed and progress is moved
forward exactly (``Fraction``) to the next such time. Section numbers refer to docs/timing.md; a
comment that begins with "Reading:" marks a place where that page left a choice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Generator, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial

from simulator.engine.demand import Launches
from simulator.engine.plan import LinkPlan

from .scenario import PassResult, Result, Scenario

SECOND = 1_000_000_000


def ceil_div(a: int | Fraction, b: int) -> int:
    """Return a / b rounded up."""
    return int(-(-a // b))


def cost_ns(n_bytes: int, rate: int) -> int:
    """Return the fixed cost of ``n_bytes`` at ``rate`` bytes/s; a rate of 0 costs nothing."""
    return ceil_div(n_bytes * SECOND, rate) if rate else 0


# ---------------------------------------------------------------- tiers (§2)


class Order:
    """LRU or FIFO as a plain list, next victim first."""

    def __init__(self, policy: str) -> None:
        assert policy in {"lru", "fifo"}
        self.lru = policy == "lru"
        self.keys: list[int] = []

    def on_use(self, key: int) -> None:
        if key in self.keys:
            if self.lru:
                self.keys.remove(key)
                self.keys.append(key)
        else:
            self.keys.append(key)

    def on_insert(self, key: int) -> None:
        assert key not in self.keys
        self.keys.append(key)

    def on_evict(self, key: int) -> None:
        if key in self.keys:
            self.keys.remove(key)

    def victim(self, blocked: Container[int]) -> int | None:
        return next((key for key in self.keys if key not in blocked), None)


@dataclass(eq=False)
class Entry:
    """A key's place in a tier, landed or in flight."""

    n_bytes: int
    landed: bool = False
    owner: Transfer | None = None
    prefetch: Transfer | None = None  # the prefetch that brought it, until it is demanded


@dataclass(eq=False)
class Pool:
    capacity: int
    order: Order
    used: int = 0


class Tier:
    """One tier; the last one has no pools and holds everything."""

    def __init__(self, pools: dict[int, Pool]) -> None:
        self.pools = pools  # by layer
        self.entries: dict[int, Entry] = {}
        self.used = 0
        self.peak = 0
        self.held: Counter[int] = Counter()  # keys that transfers or the CPU helper read from here
        self.arriving: set[int] = set()  # keys being written back to here (§8)

    def landed(self, key: int) -> bool:
        return key in self.entries and self.entries[key].landed

    def in_flight(self) -> set[int]:
        return {key for key, entry in self.entries.items() if not entry.landed}

    def add(self, pool: Pool, key: int, entry: Entry) -> None:
        assert key not in self.entries
        self.entries[key] = entry
        pool.used += entry.n_bytes
        self.used += entry.n_bytes
        self.peak = max(self.peak, self.used)

    def remove(self, pool: Pool, key: int) -> Entry:
        entry = self.entries.pop(key)
        pool.used -= entry.n_bytes
        self.used -= entry.n_bytes
        pool.order.on_evict(key)
        return entry


# ---------------------------------------------------------------- links (§5)


@dataclass(eq=False)
class Piece:
    """A part of a transfer that lands as one."""

    number: int
    n_bytes: int  # as moved, with alignment
    place: int = 0  # its number among all that was ever queued
    first_hop_done: bool = False
    chunks_sent: int = 0  # handed to the second hop
    chunks_landed: int = 0
    landed_as: int | None = None  # place in the run's order of landing


@dataclass(eq=False)
class Transfer:
    """An expert on its way to tier 0, over one hop or two."""

    key: int
    n_bytes: int
    hops: list[Link]
    speculative: bool = False
    target: int = -1  # the event that a prefetch is for
    streamed: bool = False  # needs a staging buffer of tier 0
    staged: bool = False  # two hops, and tier 1 did not take it in
    holds: bool = False  # its source in tier 1 is held
    by_matrix: bool = False  # cut in the parts of the stages
    asked: bool = False  # its moment to be queued has come
    behind: Link | None = None  # while it waits for another one's read into tier 1: the link of that
    queued_as: int | None = None  # when its pieces exist: place in the order of landing of an empty stage
    pieces: list[Piece] = field(default_factory=list)
    read_ahead: bool = False  # a prefetch's first hop has begun
    started: bool = False  # a prefetch has space in tier 0
    landed: bool = False
    removed: bool = False  # a prefetch will not start any more; its read into tier 1 may go on
    cancelled: bool = False  # nothing of it goes on but what is on a lane

    def stage(self, stage: int, n_stages: int) -> list[Piece]:
        return [p for p in self.pieces if n_stages == 1 or p.number == stage]

    def ready(self, stage: int, n_stages: int) -> bool:
        pieces = self.stage(stage, n_stages)
        return self.queued_as is not None and all(p.landed_as is not None for p in pieces)

    def ready_as(self, stage: int, n_stages: int) -> int:
        """Return the place of the stage in the order of landing."""
        assert self.queued_as is not None
        return max((p.landed_as or 0 for p in self.stage(stage, n_stages)), default=self.queued_as)

    def awaited_link(self, stage: int, n_stages: int) -> Link:
        if self.behind is not None:
            return self.behind
        pieces = self.stage(stage, n_stages)
        return self.hops[-1] if pieces and all(p.first_hop_done for p in pieces) else self.hops[0]


@dataclass(eq=False)
class Job:
    """What occupies one lane: a piece on its first hop, a chunk of one on its second, or other bytes."""

    n_bytes: int
    on_landed: Callable[[], None]
    place: int  # the number of its piece
    transfer: Transfer | None = None
    piece: Piece | None = None
    chunk_bytes: int = 0  # distance of boundaries, 0: none
    chunk_number: int | None = None  # set on the second hop
    forwards: bool = False  # first hop of two
    moved: Fraction = Fraction(0)
    mark: int = 0  # the last boundary that was passed
    counted: int = 0

    @property
    def speculative(self) -> bool:
        return self.transfer is not None and self.transfer.speculative

    @property
    def cancelled(self) -> bool:
        """Whether it leaves its lane at a boundary; chunks on the second hop finish (§7)."""
        return self.transfer is not None and self.transfer.cancelled and self.chunk_number is None

    @property
    def needs_slot(self) -> bool:
        return self.forwards and self.transfer is not None and self.transfer.staged

    def before(self, other: Job) -> bool:
        """Whether it comes first in a queue."""
        if self.place == other.place:
            return (self.chunk_number or 0) < (other.chunk_number or 0)
        return self.place < other.place

    def next_mark(self) -> int:
        return min(self.mark + self.chunk_bytes, self.n_bytes) if self.chunk_bytes else self.n_bytes


@dataclass(eq=False)
class Lane:
    job: Job | None = None
    state: str = "idle"  # idle | latency | moving | paused | copy
    until: int = 0  # end of latency or copy
    rate: int = 0
    at_boundary: bool = False  # since this nanosecond's transfers
    ended: tuple[Piece | None, int] = (None, -1)  # the piece of its last job, and when that ended


class Link:
    def __init__(self, plan: LinkPlan) -> None:
        self.plan = plan
        self.lanes = [Lane() for _ in range(plan.lanes)]
        self.demand: list[Job] = []
        self.speculative: list[Job] = []
        self.n_bytes = 0

    def put(self, job: Job) -> None:
        """Put a job in its place in its queue."""
        queue = self.speculative if job.speculative else self.demand
        queue.insert(sum(other.before(job) for other in queue), job)

    def moving(self) -> list[Lane]:
        return [lane for lane in self.lanes if lane.state == "moving"]

    def solo_rate(self, block: int, moving: int) -> int:
        """Return the rate of one of ``moving`` lanes (§6)."""
        plan = self.plan
        if not plan.table:
            return max(1, min(plan.lane_bytes_per_s or plan.bytes_per_s, plan.bytes_per_s // moving))
        blocks = [b for b, _, _ in plan.table]
        row = max([b for b in blocks if b <= block], default=min(blocks))
        totals = {c: total for b, c, total in plan.table if b == row}
        column = max([c for c in totals if c <= moving], default=min(totals))
        return max(1, totals[column] // moving)

    def aligned(self, n_bytes: int) -> int:
        return n_bytes + self.plan.align_bytes


# ---------------------------------------------------------------- the CPU helper (§9)


@dataclass(eq=False)
class Group:
    """The experts that one step leaves to the CPU."""

    due: int  # layer whose combine waits for it
    n_bytes: int
    left: int
    done: bool = False

    def end(self) -> None:
        self.done = True


@dataclass(eq=False)
class CpuJob:
    group: Group
    key: int | None  # None: what the group takes before its first expert
    ask: int
    work_left: int  # rate x ns


# ---------------------------------------------------------------- one demand event (§4)


@dataclass(eq=False)
class Step:
    """What the demand event decided and the rest of the layer step needs."""

    index: int
    demand: dict[int, int]  # tokens of each key, in order
    hits: list[int] = field(default_factory=list)
    loads: dict[int, Transfer] = field(default_factory=dict)  # late and fetched, in the order of D
    fetched: list[int] = field(default_factory=list)
    on_cpu: list[int] = field(default_factory=list)
    writebacks: list[int] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)  # streamed, without a staging buffer yet
    n_stages: int = 1
    overhead_ns: int = 0
    books_ns: int = 0
    issued: set[int] = field(default_factory=set)  # experts whose first stage the host has issued


@dataclass(eq=False)
class Busy:
    """The main unit works for so long."""

    label: str
    ns: int


@dataclass(eq=False)
class Waiting:
    """The main unit waits until something is true; the label may change meanwhile."""

    until: Callable[[], bool]
    label: Callable[[], str]


Main = Generator[Busy | Waiting]


def no_launches(n_layers: int) -> Launches:
    """Return launches that cost nothing, of routing that the host never sees."""
    nothing = (0,) * n_layers
    never = (False,) * n_layers
    return Launches(0, 0, nothing, nothing, nothing, nothing, nothing, nothing, never)


class Engine:
    """One run."""

    def __init__(self, scenario: Scenario, *, every_ns: bool) -> None:
        s = self.s = scenario
        self.every_ns = every_ns  # stop the clock at every nanosecond: slower still, same answer
        self.now = 0
        self.rt = s.runtime
        self.host = 0  # when the last call of the host's thread ended: H
        self.issue = no_launches(s.n_layers)  # of the present pass
        self.three = len(s.machine.tiers) == 3
        assert len(s.machine.tiers) in {2, 3}
        self.links = [Link(plan) for plan in s.machine.links]
        self.tiers = []
        for n in range(len(s.machine.tiers)):
            pools: dict[int, Pool] = {}
            for capacity, layers in s.pools[n] if n < len(s.pools) else ():
                pool = Pool(capacity, Order(s.eviction[n]))
                pools.update(dict.fromkeys(layers, pool))
            self.tiers.append(Tier(pools))
        self.slots = self.rt.host_staging_chunks
        self.speculative_slots = self.rt.host_staging_chunks // 2  # of these, what speculation may still take
        self.landings = 0
        self.numbers = 0  # pieces that were ever queued
        self.evictions = 0  # from tier 0
        self.again = False  # whether links have to pick once more at this nanosecond
        self.pinned: set[int] = set()
        self.used_in_dram: set[int] = set()  # keys used by the present event in tier 1
        self.shield_until: dict[int, int] = {}
        self.last_event = -1
        self.prefetches: list[Transfer] = []  # queued or under way
        self.waiters: dict[int, list[Transfer]] = {}  # transfers that wait for a key to land in tier 1
        self.groups: list[Group] = []
        self.cpu_queue: list[CpuJob] = []
        self.cpu_job: CpuJob | None = None
        self.cpu_rate = 0
        n_events = len(s.passes) * s.n_layers
        self.count = {name: [0] * n_events for name in ("hits", "late", "fetched", "on_cpu", "found_in_dram")}
        self.stats = Counter(started=0, useful=0, unused=0, cancelled=0, dropped=0)
        self.labels: Counter[str] = Counter()
        self.busy: Counter[str] = Counter()
        self.looked_at = 0  # layer steps of which it is known who was there
        self.there: list[Counter[int]] = [Counter() for _ in s.pools]
        self.results: list[PassResult] = []

    # ------------------------------------------------------------ the clock (§1)

    def run(self) -> Result:
        main = self.main_unit()
        doing, began = next(main), self.now
        while True:
            for link in self.links:  # 1. transfers
                for lane in link.lanes:
                    self.transfers_end(link, lane)
            while True:  # 2. compute and decisions
                self.cpu_helper()
                if not (self.now == began + doing.ns if isinstance(doing, Busy) else doing.until()):
                    break
                try:
                    doing, began = next(main), self.now
                except StopIteration:
                    return self.result()
            self.again = True
            while self.again:  # 3. links pick
                # Reading: again also after a prefetch was removed or a lane left: that frees slots of host
                # staging and lets the next one be read ahead, on a link that has picked already.
                self.again = False
                for link in self.links:
                    self.held_lanes(link)
                    self.idle_lanes(link)
            self.recompute_rates()
            times = list(self.next_times())
            if isinstance(doing, Busy):
                times.append(began + doing.ns)
            assert times, "deadlock"
            then = max(min(times), self.now)
            if self.every_ns and then > self.now:
                then = self.now + 1
            self.advance(then, doing.label if isinstance(doing, Busy) else doing.label())

    def next_times(self) -> Iterator[int]:
        for link in self.links:
            for lane in link.lanes:
                if lane.state in {"latency", "copy"}:
                    yield lane.until
                elif lane.state == "moving":
                    assert lane.job is not None
                    yield self.now + ceil_div((lane.job.next_mark() - lane.job.moved) * SECOND, lane.rate)
        if self.cpu_job is not None:
            yield self.now + ceil_div(self.cpu_job.work_left, self.cpu_rate)

    def advance(self, then: int, label: str) -> None:
        dt = then - self.now
        for link in self.links:
            for lane in link.moving():
                assert lane.job is not None
                lane.job.moved += Fraction(lane.rate * dt, SECOND)
        if self.cpu_job is not None:
            self.cpu_job.work_left -= self.cpu_rate * dt
        self.labels[label] += dt
        for link in self.links:
            self.busy[link.plan.name] += dt * any(lane.job is not None for lane in link.lanes)
        self.busy["cpu"] += dt * (self.cpu_job is not None)
        self.now = then

    def recompute_rates(self) -> None:
        """Give every moving lane and the helper's job its rate (§6)."""
        users: list[tuple[int, int, Lane | None]] = []  # ask, place in the order of ties, who
        for link in self.links:
            lanes = link.moving()
            for lane in lanes:
                assert lane.job is not None
                lane.rate = link.solo_rate(lane.job.n_bytes, len(lanes))
                if link.plan.uses_dram:
                    users.append((lane.rate, len(users), lane))
        if self.cpu_job is not None:
            self.cpu_rate = self.cpu_job.ask
            users.append((self.cpu_rate, len(users), None))
        left = self.s.machine.dram_bytes_per_s
        if not left or sum(user[0] for user in users) <= left:
            return
        users.sort(key=lambda user: user[:2])
        for n, (ask, _, lane_or_none) in enumerate(users):
            share = max(1, min(ask, left // (len(users) - n)))
            left = max(0, left - share)
            if lane_or_none is None:
                self.cpu_rate = share
            else:
                lane_or_none.rate = share

    # ------------------------------------------------------------ transfers (§5, §7)

    def transfers_end(self, link: Link, lane: Lane) -> None:
        job = lane.job
        if job is None or (lane.state in {"latency", "copy"} and self.now < lane.until):
            return
        if lane.state == "latency":
            lane.state = "moving"
        elif lane.state == "copy":
            self.finish(lane, job)
        while lane.state == "moving" and lane.job is job and job.moved >= job.next_mark():
            if job.next_mark() == job.n_bytes:  # the end of moving, not a boundary
                lane.at_boundary = False
                self.count_bytes(link, job, job.n_bytes)
                if link.plan.copy_bytes_per_s:
                    lane.state = "copy"
                    lane.until = self.now + cost_ns(job.n_bytes, link.plan.copy_bytes_per_s)
                else:
                    self.finish(lane, job)
                return
            job.mark += job.chunk_bytes
            lane.at_boundary = True
            if job.forwards:
                self.forward(job, job.chunk_bytes)
            if job.needs_slot:
                break  # the next chunk starts when links pick, if there is a slot
        if lane.at_boundary and job.cancelled:
            self.give_up(link, lane, job)  # at the last of several boundaries in this nanosecond

    def count_bytes(self, link: Link, job: Job, upto: int) -> None:
        link.n_bytes += upto - job.counted
        job.counted = upto

    def finish(self, lane: Lane, job: Job) -> None:
        """End a job: it leaves its lane, and what it carried has landed."""
        lane.job, lane.state, lane.at_boundary = None, "idle", False
        lane.ended = (job.piece, self.now)
        if job.forwards:
            self.forward(job, job.n_bytes - job.mark)
        job.on_landed()

    def give_up(self, link: Link, lane: Lane, job: Job) -> None:
        """Leave the lane at the last boundary; progress past it is forgotten."""
        lane.job, lane.state, lane.at_boundary = None, "idle", False
        job.moved = Fraction(job.mark)
        self.count_bytes(link, job, job.mark)

    def forward(self, job: Job, n_bytes: int) -> None:
        """Queue a chunk that the first hop has moved on the second."""
        transfer, piece = job.transfer, job.piece
        assert transfer is not None
        assert piece is not None
        if transfer.cancelled or transfer.removed:
            self.give_slot(transfer)
            return
        second = transfer.hops[1]
        landed = partial(self.chunk_landed, transfer, piece)
        chunk = Job(n_bytes, landed, piece.place, transfer, piece, second.plan.chunk_bytes, piece.chunks_sent)
        piece.chunks_sent += 1
        second.put(chunk)

    def free_slot(self, job: Job) -> bool:
        return self.slots > 0 and (not job.speculative or self.speculative_slots > 0)

    def take_slot(self, job: Job) -> None:
        self.slots -= 1
        self.speculative_slots -= job.speculative

    def give_slot(self, transfer: Transfer) -> None:
        """Return the slot of a chunk, if it had one."""
        if transfer.staged:
            self.slots += 1
            self.speculative_slots += transfer.speculative

    def chunk_landed(self, transfer: Transfer, piece: Piece) -> None:
        self.give_slot(transfer)
        piece.chunks_landed += 1
        if piece.first_hop_done and piece.chunks_landed == piece.chunks_sent:
            self.piece_landed(transfer, piece)

    def first_hop_ended(self, transfer: Transfer, piece: Piece) -> None:
        """Take note that a piece is in tier 1; the expert is there when all its pieces are."""
        if transfer.cancelled:
            return
        piece.first_hop_done = True
        entry = self.tiers[1].entries.get(transfer.key)
        if entry is not None and entry.owner is transfer and all(p.first_hop_done for p in transfer.pieces):
            entry.landed = True
            if transfer.speculative and not transfer.removed:
                self.hold(transfer)
            self.queue_waiters(transfer.key)

    def piece_landed(self, transfer: Transfer, piece: Piece) -> None:
        if transfer.cancelled:
            return
        self.landings += 1
        piece.landed_as = self.landings
        if all(p.landed_as is not None for p in transfer.pieces):
            self.landed(transfer)

    def landed(self, transfer: Transfer) -> None:
        """Take note that an expert is in tier 0."""
        transfer.landed = True
        if transfer.speculative:
            self.prefetches.remove(transfer)
        self.let_go(transfer)
        entry = self.tiers[0].entries.get(transfer.key)
        if entry is not None and entry.owner is transfer:
            entry.landed = True
            if self.rt.exclusive and transfer.key in self.tiers[1].entries:  # §8
                assert self.tiers[1].entries[transfer.key].landed
                self.tiers[1].remove(self.pool(1, transfer.key), transfer.key)

    # ------------------------------------------------------------ links pick (§1, §5)

    def held_lanes(self, link: Link) -> None:
        """Let jobs at a boundary go on, give their lane up, or pause; let paused ones resume."""
        for lane in link.lanes:  # cancelled ones first: nobody is preempted where a lane gets idle
            if lane.job is not None and lane.job.cancelled and (lane.at_boundary or lane.state == "paused"):
                self.give_up(link, lane, lane.job)
                self.again = True
        for lane in link.lanes:
            job, at_boundary = lane.job, lane.at_boundary
            lane.at_boundary = False
            if job is None or not (at_boundary or lane.state == "paused"):
                continue
            idle = sum(other.job is None for other in link.lanes)
            preempts = at_boundary and job.speculative and link.plan.preemption == "chunk"
            if preempts and self.demand_that_could_start(link) > idle:
                self.give_up(link, lane, job)
                self.again = True
                if job.transfer is not None and job.transfer.cancelled:
                    self.give_slot(job.transfer)  # a cancelled chunk that is on no lane is dropped
                else:
                    link.put(job)
            elif job.needs_slot:
                if self.free_slot(job):
                    self.take_slot(job)
                    lane.state = "moving"
                else:
                    lane.state = "paused"
                    job.moved = Fraction(job.mark)

    def demand_that_could_start(self, link: Link) -> int:
        # Reading: demand that waits for a slot of host staging does not preempt.
        slots = self.slots
        for n, job in enumerate(link.demand):
            slots -= job.needs_slot
            if slots < 0:
                return n
        return len(link.demand)

    def idle_lanes(self, link: Link) -> None:
        """Let idle lanes pick, lowest first."""
        for lane in link.lanes:
            if lane.job is not None:
                continue
            job = self.same_piece(link, lane)
            job = job or self.next_job(link, link.demand) or self.next_job(link, link.speculative)
            if job is None:
                continue
            self.again = True
            if job.needs_slot:
                self.take_slot(job)
            lane.job = job
            # Reading: the next one that it picks; with several lanes on hop 2 that may not be the very next
            follows = job.chunk_number is not None and not job.moved
            if follows and lane.ended == (job.piece, self.now):
                lane.state = "moving"
            else:
                lane.state, lane.until = "latency", self.now + link.plan.latency_ns
                if not link.plan.latency_ns:
                    lane.state = "moving"

    def same_piece(self, link: Link, lane: Lane) -> Job | None:
        """Take the next chunk of the speculative piece that the lane has just been busy with (§7)."""
        piece, ended = lane.ended
        if link.plan.preemption != "none" or piece is None or ended != self.now:
            return None
        # Reading: the next one that waits; with several lanes on hop 2 that may not be the very next
        job = next((job for job in link.speculative if job.piece is piece), None)
        if job is not None:
            link.speculative.remove(job)
        return job

    def next_job(self, link: Link, queue: list[Job]) -> Job | None:
        """Take the head of a queue, if it can start; a prefetch takes its space first."""
        while queue:
            job = queue[0]
            prefetch = job.transfer if job.speculative else None
            if prefetch is not None and job.forwards and not prefetch.read_ahead:
                if sum(p.read_ahead and not p.started for p in self.prefetches) > link.plan.lanes:
                    return None
                if not self.begin_read(prefetch):
                    self.remove(prefetch)
                    continue
            starts = prefetch is not None and not job.forwards and not prefetch.started
            if prefetch is not None and starts and not self.start(prefetch):
                self.remove(prefetch)
                continue
            return None if job.needs_slot and not self.free_slot(job) else queue.pop(0)
        return None

    # ------------------------------------------------------------ prefetches

    def start(self, prefetch: Transfer) -> bool:
        """Make space for a prefetch in tier 0."""
        shielded = {key for key, until in self.shield_until.items() if until > self.last_event}
        victims: list[int] = []
        done = self.make_space(0, prefetch.key, self.pinned | shielded, set(), victims)
        for key in victims:
            self.queue_writeback(key)
        if done:
            self.insert(0, prefetch, prefetch=prefetch)
            prefetch.started = True
            self.stats["started"] += 1
        return done

    def begin_read(self, prefetch: Transfer) -> bool:
        """Make space in tier 1 for a prefetch that comes through there, or send it through host staging."""
        # Reading: asked once; if it then waits for a slot of host staging, it is read ahead all the same.
        if self.make_space(1, prefetch.key, self.blocked_in_dram(), set(), []):
            self.insert(1, prefetch)
        elif self.rt.host_staging_chunks // 2:
            prefetch.staged = True
        else:
            return False
        prefetch.read_ahead = True
        return True

    def insert(self, tier: int, transfer: Transfer, prefetch: Transfer | None = None) -> None:
        pool = self.pool(tier, transfer.key)
        entry = Entry(transfer.n_bytes, owner=transfer, prefetch=prefetch)
        self.tiers[tier].add(pool, transfer.key, entry)
        if transfer.speculative:
            pool.order.on_insert(transfer.key)
        else:
            assert transfer.key in pool.order.keys  # by on_use
        assert pool.used <= pool.capacity or self.rt.evict == "after_event"

    def remove(self, prefetch: Transfer, *, stale: bool = False) -> None:
        """Remove a prefetch that has not started; its read into tier 1 may go on."""
        assert not prefetch.started
        self.again = True
        self.stats["dropped"] += 1
        prefetch.removed = True
        self.prefetches.remove(prefetch)
        # Reading: stale is what is removed because its event came without it. What an event demands is
        # taken over by the miss, and what found no space goes on even when its event comes.
        if prefetch.read_ahead and not prefetch.staged and not (stale and self.rt.cancel == "chunk"):
            self.forget_jobs(prefetch, prefetch.hops[1])
            self.let_go(prefetch)
        else:
            self.stop(prefetch)

    def cancel(self, transfer: Transfer) -> None:
        """Cancel a started prefetch."""
        self.stats["cancelled"] += 1
        self.prefetches.remove(transfer)
        self.tiers[0].entries[transfer.key].prefetch = None
        self.stop(transfer)

    def stop(self, transfer: Transfer) -> None:
        """Free what a prefetch has taken and not filled; jobs on lanes leave them later."""
        transfer.cancelled = True
        for link in transfer.hops:
            self.forget_jobs(transfer, link)
        for n, tier in enumerate(self.tiers):
            entry = tier.entries.get(transfer.key)
            if entry is not None and entry.owner is transfer and not entry.landed:
                tier.remove(self.pool(n, transfer.key), transfer.key)
        # Reading: a cancelled prefetch does not pin its source, even while a job of it is on a lane
        self.let_go(transfer)

    def forget_jobs(self, transfer: Transfer, link: Link) -> None:
        for job in [job for job in link.speculative if job.transfer is transfer]:
            link.speculative.remove(job)
            if job.chunk_number is not None:
                self.give_slot(transfer)

    # ------------------------------------------------------------ space

    def layer(self, key: int) -> int:
        return key // self.s.n_experts

    def n_bytes(self, key: int) -> int:
        return self.s.expert_bytes[self.layer(key)]

    def n_parts(self, key: int) -> int:
        return len(self.rt.tensors[self.layer(key)][0]) if self.rt.tensors else self.rt.parts

    def by_matrix(self, key: int) -> bool:
        return self.rt.parts_order == "matrix"

    def pool(self, tier: int, key: int) -> Pool:
        return self.tiers[tier].pools[self.layer(key)]

    def hold(self, transfer: Transfer) -> None:
        transfer.holds = True
        self.tiers[1].held[transfer.key] += 1

    def let_go(self, transfer: Transfer) -> None:
        if transfer.holds:
            transfer.holds = False
            self.tiers[1].held[transfer.key] -= 1

    def blocked_in_dram(self) -> set[int]:
        """Return used by this event, pinned, and sources of transfers (queued ones too)."""
        return self.used_in_dram | {key for key, n in self.tiers[1].held.items() if n}

    def make_space(self, tier: int, key: int, blocked: set[int], soft: set[int], victims: list[int]) -> bool:
        """Evict until ``key`` fits; ``victims`` collects who is to be written back. Victims stay evicted."""
        pool = self.pool(tier, key)
        while pool.capacity - pool.used < self.n_bytes(key):
            hard = blocked | self.tiers[tier].in_flight()
            victim = pool.order.victim(hard | soft)
            if victim is None:
                victim = pool.order.victim(hard)
            if victim is None:
                return False
            self.evict(tier, victim, victims)
        return True

    def evict(self, tier: int, key: int, victims: list[int]) -> None:
        entry = self.tiers[tier].remove(self.pool(tier, key), key)
        assert entry.landed
        self.evictions += tier == 0
        if entry.prefetch is not None:
            self.stats["unused"] += 1
        if tier == 0 and self.rt.exclusive:  # §8: tier 1 takes it in, in flight until written back
            below = self.tiers[1]
            if self.three:
                if key in below.entries or not self.make_space(1, key, self.blocked_in_dram(), set(), []):
                    return
                below.add(self.pool(1, key), key, Entry(entry.n_bytes))
                self.pool(1, key).order.on_insert(key)
            assert key not in below.arriving
            below.arriving.add(key)
            victims.append(key)

    def queue_writeback(self, key: int) -> None:
        self.send(0, 1, self.n_bytes(key), partial(self.written_back, key))

    def written_back(self, key: int) -> None:
        self.tiers[1].arriving.remove(key)
        if self.three:
            self.tiers[1].entries[key].landed = True
        self.queue_waiters(key)

    def queue_waiters(self, key: int) -> None:
        """Queue the transfers for which the key has landed in tier 1 now."""
        for transfer in self.waiters.pop(key, []):
            transfer.behind = None
            if not transfer.removed:
                self.queue_pieces([transfer])

    # ------------------------------------------------------------ queueing

    def link(self, source: int, target: int) -> Link:
        return next(x for x in self.links if (x.plan.source, x.plan.target) == (source, target))

    def send(self, source: int, target: int, n_bytes: int, on_landed: Callable[[], None]) -> None:
        """Queue other bytes than an expert's on its way up, as one demand job."""
        if n_bytes:
            link = self.link(source, target)
            n_bytes = link.aligned(n_bytes)
            link.put(Job(n_bytes, on_landed, self.next_number(), chunk_bytes=link.plan.chunk_bytes))
        else:
            on_landed()  # Reading: no bytes, no job, no latency

    def next_number(self) -> int:
        self.numbers += 1
        return self.numbers

    def make_transfer(self, key: int, *, speculative: bool = False, target: int = -1) -> Transfer:
        """Return the transfer of ``key`` to tier 0 from where it is, or will be, now."""
        up = self.link(1, 0)
        two_hops = self.three and key not in self.tiers[1].entries
        hops = [self.link(2, 1), up] if two_hops else [up]
        transfer = Transfer(key, self.n_bytes(key), hops, speculative, target, by_matrix=self.by_matrix(key))
        if self.three and not two_hops:
            self.hold(transfer)
        return transfer

    def ask(self, transfers: list[Transfer]) -> None:
        """Queue transfers; those whose expert is on its way into tier 1 wait for that."""
        at_once = []
        for transfer in transfers:
            key = transfer.key
            transfer.asked = True
            written_back = key in self.tiers[1].arriving
            if len(transfer.hops) == 2:
                assert not written_back
                at_once.append(transfer)
            elif written_back or (self.three and not self.tiers[1].landed(key)):
                if not written_back:
                    owner = self.tiers[1].entries[key].owner
                    assert owner is not None
                    assert owner.removed
                    transfer.behind = owner.hops[0]
                self.waiters.setdefault(key, []).append(transfer)
            else:
                at_once.append(transfer)
        self.queue_pieces(at_once)

    def queue_pieces(self, transfers: list[Transfer]) -> None:
        """Cut transfers and queue their pieces: piece-major for parts by matrix, else expert-major."""
        queue = []
        for n, transfer in enumerate(transfers):
            self.cut(transfer)
            major = transfer.by_matrix and not transfer.speculative
            queue += [((p.number, n) if major else (n, p.number), transfer, p) for p in transfer.pieces]
        for _, transfer, piece in sorted(queue, key=lambda item: item[0]):
            self.queue_piece(transfer, piece)

    def cut(self, transfer: Transfer) -> None:
        """Cut a transfer in pieces."""
        link = transfer.hops[0]
        if self.rt.tensors:
            sizes = list(self.rt.tensors[self.layer(transfer.key)][0])
        else:
            parts = 1
            if transfer.by_matrix:
                parts = self.rt.parts
            elif link.plan.split:  # Reading: a step that falls back is cut as with parts by expert
                parts = self.rt.parts if self.rt.parts > 1 else link.plan.lanes
            base, rest = divmod(transfer.n_bytes, parts)
            sizes = [base + rest, *[base] * (parts - 1)]
        transfer.pieces = [Piece(n, link.aligned(size)) for n, size in enumerate(sizes) if size]
        self.landings += 1
        transfer.queued_as = self.landings
        if not transfer.pieces:
            self.landed(transfer)

    def queue_piece(self, transfer: Transfer, piece: Piece) -> None:
        link = transfer.hops[0]
        landed = partial(self.piece_landed, transfer, piece)
        piece.place = self.next_number()
        job = Job(piece.n_bytes, landed, piece.place, transfer, piece, link.plan.chunk_bytes)
        if len(transfer.hops) == 2:
            job.forwards = True
            job.on_landed = partial(self.first_hop_ended, transfer, piece)
            if link.plan.copy_bytes_per_s:
                job.chunk_bytes = 0  # §7: on a link with copy after read hop 1 is not chunked
        link.put(job)

    # ------------------------------------------------------------ the demand event (§4)

    def event(self, index: int, demand: tuple[tuple[int, int], ...]) -> Step:
        """Decide everything that the event decides, at one moment; nothing is queued yet."""
        self.look(index)
        step = Step(index, dict(demand))
        missed = self.look_up(step)
        self.end_stale_speculation(step)
        # 3. placement
        asked_on_cpu = self.s.on_cpu.get(index, {})
        in_dram = [key for key in missed if not self.three or self.tiers[1].landed(key)]
        step.on_cpu = [key for key in missed if key in asked_on_cpu and key in in_dram]
        step.fetched = [key for key in missed if key not in step.on_cpu]
        # 4. recency
        for key in step.demand:
            self.pool(0, key).order.on_use(key)
        if self.three:
            for key in missed:
                self.pool(1, key).order.on_use(key)
        evicted_before = self.evictions
        evicted_bytes = self.take_space(step, missed)
        host = self.rt.host  # §11
        step.books_ns = host.lookup_ns * len(step.demand) + host.miss_ns * len(missed)
        step.books_ns += host.evict_ns * (self.evictions - evicted_before)
        # 6. overhead
        o = self.rt.overhead
        loaded = sum(self.n_bytes(key) for key in step.fetched)
        step.overhead_ns = o.miss_ns * len(step.fetched)
        step.overhead_ns += cost_ns(loaded, o.load_bytes_per_s) + cost_ns(evicted_bytes, o.evict_bytes_per_s)
        # 7. wished keys are shielded from now on
        for key, ahead in self.s.wishes.get(index, ()):
            self.shield_until[key] = max(index + ahead, self.shield_until.get(key, -1))
        # waves
        streamed = [key for key in step.fetched if step.loads[key].streamed]
        step.waiting = streamed[max(1, self.rt.staging_buffers) :]
        any_key = next(iter(step.demand))
        by_matrix = self.by_matrix(any_key) and not step.waiting
        step.n_stages = self.n_parts(any_key) if by_matrix else 1
        late = [key for key in step.loads if key not in step.fetched]
        counts = {"hits": step.hits, "late": late, "fetched": step.fetched, "on_cpu": step.on_cpu}
        for name, some in {**counts, "found_in_dram": in_dram}.items():
            self.count[name][index] = len(some)
        assert len(step.demand) == len(step.hits) + len(late) + len(missed)
        return step

    def look(self, step: int) -> None:
        """Note who is in the tiers at the end of the steps before ``step`` that were not looked at yet."""
        for tier, there in zip(self.tiers, self.there, strict=False):
            for key in tier.entries:
                there[key] += step - self.looked_at
        self.looked_at = step

    def look_up(self, step: Step) -> list[int]:
        """Sort the demand in hits, late (the first of ``loads``) and misses, which are returned."""
        missed = []
        self.pinned = set(step.demand)
        for key in step.demand:
            entry = self.tiers[0].entries.get(key)
            if entry is None:
                missed.append(key)
                continue
            if entry.landed:
                step.hits.append(key)
            else:
                assert entry.owner is not None
                step.loads[key] = entry.owner
            if entry.prefetch is not None:
                entry.prefetch = None
                self.stats["useful"] += 1
        return missed

    def end_stale_speculation(self, step: Step) -> None:
        # Reading: also that for events which did not take place (empty demand)
        self.last_event = step.index
        for prefetch in list(self.prefetches):
            stale = prefetch.target <= step.index and self.rt.cancel != "none"
            if not prefetch.started:
                if stale or prefetch.key in step.demand:
                    self.remove(prefetch, stale=prefetch.key not in step.demand)
            elif stale and self.rt.cancel == "chunk" and prefetch.key not in step.demand:
                self.cancel(prefetch)

    def take_space(self, step: Step, missed: list[int]) -> int:
        """Claim space for the fetched in tier 0, then in tier 1; return the bytes evicted from tier 0."""
        self.used_in_dram = set(missed)
        loads = {key: self.make_transfer(key) for key in step.fetched}
        for key in step.on_cpu:
            self.tiers[1].held[key] += 1
        upper, lower = self.tiers[0], self.tiers[1]
        before = upper.used
        taken = self.claim(0, list(loads.values()), set(step.demand), step.writebacks)
        evicted_bytes = before + sum(self.n_bytes(key) for key in taken) - upper.used
        for key, load in loads.items():
            load.streamed = key not in upper.entries
        for key in step.demand:
            if key not in upper.entries:
                self.pool(0, key).order.on_evict(key)
        if self.three:
            two_hops = [load for load in loads.values() if len(load.hops) == 2]
            self.claim(1, two_hops, self.blocked_in_dram(), [])
            for load in two_hops:
                if load.key in lower.entries:
                    self.hold(load)
                else:
                    load.staged = True
                    self.pool(1, load.key).order.on_evict(load.key)
        self.used_in_dram = set()
        every = {**step.loads, **loads}
        step.loads = {key: every[key] for key in step.demand if key in every}
        return evicted_bytes

    def claim(self, tier: int, transfers: list[Transfer], blocked: set[int], victims: list[int]) -> list[int]:
        """Claim space for fetched misses, in order; return the keys that were newly taken in."""
        taken = []
        after_event = self.rt.evict == "after_event"
        shielded = {key for key, until in self.shield_until.items() if until > self.last_event}
        for transfer in transfers:
            key = transfer.key
            if after_event or self.make_space(tier, key, blocked, set() if tier else shielded, victims):
                self.insert(tier, transfer)
                taken.append(key)
        if after_event:
            pools = {id(pool): pool for key in self.pinned for pool in [self.pool(tier, key)]}
            for pool in pools.values():
                while pool.used > pool.capacity:
                    victim = pool.order.victim(blocked | self.tiers[tier].in_flight())
                    if victim is None:
                        break
                    self.evict(tier, victim, victims)
        return taken

    def queue(self, step: Step) -> Main:
        """Queue what the event decided (§4.7), each when the host's calls for it have ended (§11)."""
        for key in step.writebacks:
            self.queue_writeback(key)
        if step.on_cpu:
            yield from self.host_works(self.rt.host.activations_ns)
            self.queue_group(step)
        first = [step.loads[key] for key in step.fetched if key not in step.waiting]
        for together in [first] if self.rt.parts_order == "matrix" else [[load] for load in first]:
            yield from self.copy(together)
        for key, ahead in self.s.wishes.get(step.index, ()):
            queued = {transfer.key for transfer in self.prefetches if not transfer.started}
            if key in self.tiers[0].entries or key in queued or key in self.pinned:
                continue
            yield from self.host_works(self.rt.host.copy_ns)
            prefetch = self.make_transfer(key, speculative=True, target=step.index + ahead)
            self.prefetches.append(prefetch)
            self.ask([prefetch])

    def copy(self, transfers: list[Transfer]) -> Main:
        """Make the calls for some demand transfers, then queue them."""
        yield from self.host_works(self.rt.host.copy_ns * len(transfers))
        self.ask(transfers)

    # ------------------------------------------------------------ the host (§11)

    def host_works(self, ns: int) -> Main:
        """Let the host's thread work for so long from now on, and the main unit wait for it."""
        if ns:
            yield from self.see(ns)

    def see(self, ns: int) -> Main:
        """Synchronise the host with the main unit, which then waits until the host has worked for so long."""
        self.host = max(self.host, self.now) + ns
        yield Busy("host", self.host - self.now)

    def item(self, issue_ns: int, label: str, ns: int) -> Main:
        """Issue an item of the main unit's work, and do it when it is issued."""
        self.host += issue_ns
        yield Busy("host", max(0, self.host - self.now))
        yield Busy(label, ns)

    def wait(self, waiting: Waiting, *, holds_host: bool) -> Main:
        """Let the main unit wait, and the host too if it is held up by what is waited for."""
        began = self.now
        yield waiting
        if holds_host and self.now > began:
            self.host = max(self.host, self.now)

    # ------------------------------------------------------------ the CPU helper (§9)

    def queue_group(self, step: Step) -> None:
        n_bytes = self.s.activation_bytes * sum(step.demand[key] for key in step.on_cpu)
        layer = step.index % self.s.n_layers
        # Reading: one group a step; if its experts' deferrals differ, the earliest counts
        defer = min(self.s.on_cpu[step.index][key] for key in step.on_cpu)
        group = Group(min(layer + defer, self.s.n_layers - 1), n_bytes, len(step.on_cpu))
        self.groups.append(group)
        jobs = []
        for key in step.on_cpu:
            solo = self.s.cpu_expert_ns[layer] + self.s.cpu_token_ns * step.demand[key]
            rate = max(1, self.n_bytes(key) * SECOND // solo) if solo else 1  # no time: no work
            jobs.append(CpuJob(group, key, rate, solo * rate))
        group_ns = self.rt.host.group_ns
        if group_ns:  # §11: one more job that reads 0 bytes, so that it asks for 1 byte/s (§9)
            jobs.insert(0, CpuJob(group, None, 1, group_ns))
        self.send(0, 1, n_bytes, lambda: self.cpu_queue.extend(jobs))

    def cpu_helper(self) -> None:
        """End the helper's job if it is due, and start the next one."""
        while True:
            job = self.cpu_job
            if job is not None:
                if job.work_left > 0:
                    return
                self.cpu_job = None
                if job.key is not None:
                    self.tiers[1].held[job.key] -= 1
                    job.group.left -= 1
                    if not job.group.left:
                        self.send(1, 0, job.group.n_bytes, job.group.end)
            if not self.cpu_queue:
                return
            self.cpu_job = self.cpu_queue.pop(0)

    # ------------------------------------------------------------ the main unit (§3, §4)

    def main_unit(self) -> Main:
        """Walk the passes."""
        s = self.s
        for n, spec in enumerate(s.passes):
            start = self.now
            self.labels.clear()
            self.busy.clear()
            self.groups = []
            self.host = start
            issue = self.issue = spec.launches or no_launches(s.n_layers)
            yield Busy("overhead", self.rt.overhead.pass_ns)
            yield from self.item(issue.prologue_ns, "dense", spec.prologue_ns)
            for layer in range(s.n_layers):
                yield from self.item(issue.before_ns[layer], "dense", spec.before_ns[layer])
                step = None
                if spec.demands[layer]:
                    if issue.seen[layer]:
                        yield from self.see(self.rt.host.round_trip_ns)
                    step = self.event(n * s.n_layers + layer, spec.demands[layer])
                    before = self.rt.overhead.when == "before"
                    yield Busy("overhead", step.overhead_ns if before else 0)
                    yield from self.host_works(step.books_ns)
                    yield from self.queue(step)
                    yield Busy("overhead", 0 if before else step.overhead_ns)
                yield from self.item(issue.after_ns[layer], "dense", spec.after_ns[layer])
                if step is not None:
                    for stage in range(step.n_stages):
                        yield from self.experts(step, stage)
                due = Waiting(partial(self.groups_done, layer), lambda: "cpu_expert_wait")
                yield from self.wait(due, holds_host=True)
                yield from self.item(issue.combine_ns[layer], "dense", spec.combine_ns[layer])
                self.pinned = set()
            yield from self.item(issue.epilogue_ns, "dense", spec.epilogue_ns)
            labels = {label: ns for label, ns in self.labels.items() if ns}
            assert sum(labels.values()) == self.now - start
            busy = {name: ns for name, ns in self.busy.items() if ns}
            self.results.append(PassResult(start, self.now, labels, busy))

    def groups_done(self, layer: int) -> bool:
        """Return whether the CPU groups that are due at this layer's combine have ended."""
        return all(group.done for group in self.groups if group.due <= layer)

    def experts(self, step: Step, stage: int) -> Main:
        """Compute one stage of the step's experts."""
        n_stages = step.n_stages
        hits = list(step.hits)
        left = dict(step.loads)

        def ready() -> list[int]:
            loaded = [key for key, transfer in left.items() if transfer.ready(stage, n_stages)]
            return hits + sorted(loaded, key=lambda key: left[key].ready_as(stage, n_stages))

        def awaited() -> list[Transfer]:
            return [t for t in left.values() if t.asked and not t.ready(stage, n_stages)]

        def turn() -> int:
            return min(hits + [key for key, transfer in left.items() if transfer.asked])

        def may_go_on() -> bool:
            if self.rt.overlap == "in_order":
                return turn() in ready()
            return bool(ready()) if self.rt.overlap == "expert" else not awaited()

        def label() -> str:
            first = left[turn()] if self.rt.overlap == "in_order" else awaited()[0]
            return f"stall_{first.awaited_link(stage, n_stages).plan.name}"

        def next_ones() -> list[int]:
            if self.rt.overlap == "in_order":
                return [turn()]
            return ready()[:1] if self.rt.overlap == "expert" else ready()

        while hits or left:
            yield from self.wait(Waiting(may_go_on, label), holds_host=self.rt.host.blocking)
            # Reading: with overlap by layer, all that was queued lands, then all that landed runs
            for key in next_ones():
                transfer = left.pop(key, None)
                if transfer is None:
                    hits.remove(key)
                    assert self.tiers[0].landed(key)
                else:
                    assert transfer.ready(stage, n_stages)
                    assert n_stages > 1 or transfer.landed
                yield from self.compute(step, key, stage)
                last_stage = stage == n_stages - 1
                if transfer is not None and transfer.streamed and last_stage and step.waiting:
                    yield from self.copy([step.loads[step.waiting.pop(0)]])

    def compute(self, step: Step, key: int, stage: int) -> Main:
        """Compute a stage of an expert; its first stage is issued, and the first of the step has to start."""
        layer = self.layer(key)
        ns = self.expert_ns(step, key, stage)
        issue_ns = 0
        if stage == 0:
            issue_ns = self.issue.expert_ns[layer]
            if not step.issued:
                issue_ns += self.issue.experts_ns[layer]
                ns += self.issue.experts_start_ns[layer]
            step.issued.add(key)
        yield from self.item(issue_ns, "expert_compute", ns)

    def expert_ns(self, step: Step, key: int, stage: int) -> int:
        whole = self.s.expert_ns[self.layer(key)] + self.s.expert_token_ns * step.demand[key]
        weights: tuple[int, ...] = (1,) * step.n_stages
        if self.rt.tensors and step.n_stages > 1:
            weights = self.rt.tensors[self.layer(key)][0]
        floors = [int(Fraction(whole * weight, sum(weights))) for weight in weights]
        return floors[stage] + (stage < whole - sum(floors))

    # ------------------------------------------------------------ results (§10)

    def result(self) -> Result:
        self.look(len(self.s.passes) * self.s.n_layers)
        caching = self.tiers[:-1]
        left = [entry.landed for entry in self.tiers[0].entries.values() if entry.prefetch is not None]
        unused = self.stats["unused"] + left.count(True)
        cancelled = self.stats["cancelled"] + left.count(False)
        assert self.stats["started"] == self.stats["useful"] + unused + cancelled
        return Result(
            passes=tuple(self.results),
            hits=tuple(self.count["hits"]),
            late=tuple(self.count["late"]),
            fetched=tuple(self.count["fetched"]),
            on_cpu=tuple(self.count["on_cpu"]),
            found_in_dram=tuple(self.count["found_in_dram"]),
            link_bytes={link.plan.name: link.n_bytes for link in self.links},
            started=self.stats["started"],
            useful=self.stats["useful"],
            unused=unused,
            cancelled=cancelled,
            dropped=self.stats["dropped"],
            peak_bytes=tuple(tier.peak for tier in caching),
            resident=tuple(frozenset(k for k, e in tier.entries.items() if e.landed) for tier in caching),
            resident_steps=tuple({k: n for k, n in there.items() if n} for there in self.there),
        )


def run_reference(scenario: Scenario, *, every_ns: bool = False) -> Result:
    """Run a scenario; ``every_ns`` looks at every single nanosecond, for checking the reference itself."""
    return Engine(scenario, every_ns=every_ns).run()
