"""The loader: cuts transfers into jobs, reserves space for them, and keeps the books of prefetching."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from simulator.engine.fabric import Fabric
from simulator.engine.jobs import Job, Piece, Transfer
from simulator.engine.link import Link
from simulator.engine.plan import RuntimePlan, ceil_div
from simulator.engine.tiers import Tier


@dataclass(slots=True)
class PrefetchBooks:
    """Every started prefetch ends once: useful, unused or cancelled; ``dropped`` never started."""

    started: int = 0
    useful: int = 0
    unused: int = 0
    cancelled: int = 0
    dropped: int = 0


@dataclass(slots=True)
class Load:
    """A transfer that was cut but not queued: its jobs, and a write-back that it has to wait for."""

    transfer: Transfer
    link: Link
    jobs: list[Job]
    waits_for: Transfer | None = None


class Loader:
    """Moves experts into tier 0 (``top``); ``host`` is tier 1 where that is a cache, else None."""

    def __init__(
        self, fabric: Fabric, runtime: RuntimePlan, top: Tier, host: Tier | None, n_tiers: int
    ) -> None:
        self.fabric = fabric
        self.runtime = runtime
        self.top = top
        self.host = host
        self.up = fabric.link(1, 0)
        self.down = fabric.link(0, 1)
        self.far = fabric.link(2, 1) if n_tiers == 3 else None
        self.books = PrefetchBooks()
        self.queued: dict[int, Transfer] = {}  # prefetches that have not started
        self.fresh: dict[int, Transfer] = {}  # started prefetches that were not used yet
        self.under_way: dict[int, Transfer] = {}  # started prefetches that have not landed
        self.wasted: list[Transfer] = []
        self.shields: dict[int, int] = {}  # key -> last event that it is predicted for
        self.writing: dict[int, Transfer] = {}  # write-backs on their way into tier 1
        self.write_backs: list[Load] = []
        self.landings = 0
        self.arrived: Callable[[Transfer, int], None] = lambda _transfer, _stage: None
        top.on_leave = self._left_top

    # -- cutting ----------------------------------------------------------------------------------

    def jobs(self, transfer: Transfer, n_bytes: int, *, single: bool = False) -> list[Job]:
        """Cut a transfer into its first-hop jobs, one a piece; ``single`` forces one piece."""
        link = transfer.hops[0].plan
        parts, by_matrix = self.runtime.parts, self.runtime.parts_order == "matrix" and not single
        n = 1
        if by_matrix:
            n = parts
        elif link.split and not single:
            n = parts if parts > 1 else link.lanes
        two_hops = len(transfer.hops) == 2
        chunk = 0 if two_hops and link.copy_bytes_per_s else link.chunk_bytes
        transfer.pieces = [0] * (n if by_matrix else 1)
        jobs = []
        for i in range(n):
            size = n_bytes // n + (n_bytes % n if i == 0 else 0)
            if size == 0:
                continue
            piece = Piece(transfer, i if by_matrix else 0)
            job = Job(piece, link.read_bytes(size), chunk, second_hop=False)
            piece.chunks_left = ceil_div(job.total, job.chunk_work) if two_hops else 1
            transfer.pieces[piece.stage] += 1
            jobs.append(job)
        transfer.reading = list(transfer.pieces)
        transfer.landed_as = [0] * len(transfer.pieces)
        return jobs

    def queue(self, loads: Sequence[Load]) -> None:
        """Queue the jobs of demand transfers: expert by expert, or matrix by matrix over all.

        One whose source is still being written down follows that.
        """
        ready = []
        for load in loads:
            if load.waits_for is not None and any(load.waits_for.pieces):
                load.waits_for.followers.append(load)
            else:
                ready.append(load)
        if self.runtime.parts_order == "matrix":
            for row in zip_longest(*(load.jobs for load in ready)):
                for load, job in zip(ready, row, strict=True):
                    if job is not None:
                        load.link.queue(job)
        else:
            for load in ready:
                for job in load.jobs:
                    load.link.queue(job)
        for load in ready:
            for stage, left in enumerate(load.transfer.pieces):
                if left == 0:  # more parts than bytes
                    self._arrive(load.transfer, stage)

    def _arrive(self, transfer: Transfer, stage: int) -> None:
        self.landings += 1
        transfer.landed_as[stage] = self.landings
        self.arrived(transfer, stage)

    # -- demand -----------------------------------------------------------------------------------

    def fetch(self, key: int, *, kept: bool, into_host: bool) -> Load:
        """Make the demand transfer of a missed expert."""
        hops, waits_for = self._route(key)
        transfer = Transfer(key, hops, demand=True, landed=self._landed)
        if kept:
            self.top.pool(key).flying[key] = transfer
        if len(hops) == 2:
            self._enter_host(transfer, into_host=into_host)
        else:
            self._pin_source(transfer)
        return Load(transfer, hops[0], self.jobs(transfer, self.top.size_of(key)), waits_for)

    def _route(self, key: int) -> tuple[tuple[Link, ...], Transfer | None]:
        assert self.up is not None
        writing = self.writing.get(key)
        if writing is not None or self.host is None or self.host.has_landed(key):
            return (self.up,), writing
        assert self.far is not None
        return (self.far, self.up), None

    def _enter_host(self, transfer: Transfer, *, into_host: bool) -> None:
        if into_host and self.host is not None:
            self.host.pool(transfer.key).flying[transfer.key] = transfer
            transfer.was_read = self._in_host
        else:
            transfer.needs_slots = True

    def _in_host(self, transfer: Transfer) -> None:
        assert self.host is not None
        self.host.land(transfer.key)
        self._pin_source(transfer)
        transfer.was_read = None

    def _pin_source(self, transfer: Transfer) -> None:
        """Keep the copy that a transfer reads from in tier 1 until it has landed."""
        if self.host is not None:
            self.host.pin(transfer.key)
            transfer.pins_host = True

    def _unpin_source(self, transfer: Transfer) -> None:
        if transfer.pins_host and self.host is not None:
            self.host.unpin(transfer.key)
            transfer.pins_host = False

    def _landed(self, transfer: Transfer, stage: int) -> None:
        key = transfer.key
        if not any(transfer.pieces):
            self.under_way.pop(key, None)
            kept = self.top.pool(key).flying.get(key) is transfer
            if kept:
                self.top.land(key)
            self._unpin_source(transfer)
            if kept and self.runtime.exclusive and self.host is not None and self.host.has_landed(key):
                self.host.remove(key)
        self._arrive(transfer, stage)

    # -- write-backs (exclusive pairs) -------------------------------------------------------------

    def _left_top(self, key: int) -> None:
        fresh = self.fresh.pop(key, None)
        if fresh is not None:
            self.books.unused += 1
            self.wasted.append(fresh)
        if not self.runtime.exclusive:
            return
        host = self.host
        assert self.down is not None
        transfer = Transfer(key, (self.down,), demand=True, landed=self._written)
        if host is not None:
            if key in host.pool(key) or not host.make_room(host.pool(key), host.size_of(key), host.pins):
                return
            host.take(key, transfer)
            host.pool(key).policy.on_insert(key)
        self.writing[key] = transfer
        self.write_backs.append(
            Load(transfer, self.down, self.jobs(transfer, self.top.size_of(key), single=True))
        )

    def queue_write_backs(self) -> None:
        """Send the victims of an exclusive tier 0 down."""
        for load in self.write_backs:
            for job in load.jobs:
                load.link.queue(job)
        self.write_backs.clear()

    def _written(self, transfer: Transfer, _stage: int) -> None:
        del self.writing[transfer.key]
        if self.host is not None:
            self.host.land(transfer.key)
        for load in transfer.followers:
            if load.transfer.demand or self.queued.get(load.transfer.key) is load.transfer:
                self.queue([load])

    # -- prefetches --------------------------------------------------------------------------------

    def prefetch(self, key: int, for_event: int) -> None:
        """Queue a prefetch unless the key is there, on its way or queued already."""
        if key in self.top.pool(key) or key in self.queued:
            return
        hops, waits_for = self._route(key)
        transfer = Transfer(
            key, hops, demand=False, landed=self._landed, begin=self._begin, for_event=for_event
        )
        if len(hops) == 1:
            self._pin_source(transfer)
        self.queued[key] = transfer
        self.queue([Load(transfer, hops[0], self.jobs(transfer, self.top.size_of(key)), waits_for)])

    def _begin(self, transfer: Transfer) -> bool:
        """Reserve space for a prefetch whose first job is about to start; False drops it."""
        key = transfer.key
        pool = self.top.pool(key)
        done = self.top.make_room(pool, self.top.size_of(key), _Guard(self.top.pins, self.shields))
        self.queue_write_backs()
        if not done:
            self._drop(transfer)
            return False
        del self.queued[key]
        self.top.take(key, transfer)
        pool.policy.on_insert(key)
        self.fresh[key] = self.under_way[key] = transfer
        self.books.started += 1
        host = self.host
        if len(transfer.hops) == 2 and host is not None:
            room = host.make_room(host.pool(key), host.size_of(key), host.pins)
            if room:
                host.take(key, transfer)
                host.pool(key).policy.on_insert(key)
            self._enter_host(transfer, into_host=room)
        return True

    def _drop(self, transfer: Transfer) -> None:
        """Forget a prefetch that never started."""
        del self.queued[transfer.key]
        transfer.hops[0].forget(transfer)
        self.books.dropped += 1
        self._unpin_source(transfer)

    def stale(self, event: int, demanded: Container[int]) -> None:
        """Speculation for ``event`` is over: end its shields, drop what waits, cancel what may be."""
        for key in [k for k, last in self.shields.items() if last <= event]:
            del self.shields[key]
        cancel = self.runtime.cancel
        for key, transfer in list(self.queued.items()):
            if key in demanded or (cancel != "none" and transfer.for_event <= event):
                self._drop(transfer)
        if cancel == "chunk":
            for key, transfer in list(self.under_way.items()):
                if transfer.for_event <= event and key not in demanded and key in self.fresh:
                    self._cancel(transfer)

    def _cancel(self, transfer: Transfer) -> None:
        key = transfer.key
        transfer.cancelled = True
        self.books.cancelled += 1
        self.wasted.append(self.fresh.pop(key))
        for link in transfer.hops:
            link.forget(transfer)
        del self.under_way[key]
        self.top.remove(key)
        if self.host is not None:
            if transfer.was_read is not None:
                self.host.remove(key)
            self._unpin_source(transfer)

    def used(self, key: int) -> None:
        """A demanded key was there or on its way: if a prefetch brought it, that one was useful."""
        if self.fresh.pop(key, None) is not None:
            self.books.useful += 1

    def close(self) -> int:
        """End the books at the end of the run; return the wasted bytes."""
        for transfer in self.fresh.values():
            if any(transfer.pieces):
                self.books.cancelled += 1
            else:
                self.books.unused += 1
            self.wasted.append(transfer)
        self.fresh.clear()
        return sum(transfer.moved_bytes for transfer in self.wasted)


class _Guard:
    """Membership in pins or shields."""

    __slots__ = ("pins", "shields")

    def __init__(self, pins: Container[int], shields: Container[int]) -> None:
        self.pins, self.shields = pins, shields

    def __contains__(self, key: object) -> bool:
        return key in self.pins or key in self.shields
