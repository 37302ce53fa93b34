"""The loader: cuts transfers into jobs, reserves space for them, and keeps the books of prefetching."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from simulator.engine.fabric import Fabric
from simulator.engine.jobs import Job, Piece, Transfer
from simulator.engine.link import Link
from simulator.engine.plan import LinkPlan, RuntimePlan, ceil_div
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
    """A transfer that was cut but not queued: its jobs, for the first link, and a write-back that goes before."""

    transfer: Transfer
    link: Link
    jobs: list[Job]
    waits_for: Transfer | None = None


class Loader:
    """Moves experts into tier 0 (``top``); ``host`` is tier 1 where that is a cache, else None."""

    def __init__(self, fabric: Fabric, runtime: RuntimePlan, top: Tier, host: Tier | None, n_tiers: int) -> None:
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
        self.write_backs: list[int] = []
        self.arrived: Callable[[Transfer, int], None] | None = None
        top.on_leave = self._left_top

    # -- cutting ----------------------------------------------------------------------------------

    def jobs(self, transfer: Transfer, n_bytes: int, *, whole: bool = False, single: bool = False) -> list[Job]:
        """Cut a transfer into its first-hop jobs, one a piece; ``whole`` forces one stage, ``single`` one piece."""
        link = transfer.hops[0].plan
        parts, by_matrix = self.runtime.parts, self.runtime.parts_order == "matrix"
        two_hops = len(transfer.hops) == 2
        n = parts
        if single or (by_matrix and whole):
            n = 1
        elif not by_matrix:
            n = (parts if parts > 1 else link.lanes) if link.split else 1
        sizes = [size for i in range(n) if (size := n_bytes // n + (i < n_bytes % n))]
        staged = by_matrix and not whole and not single
        stages = n if staged else 1
        transfer.pieces = [0] * stages
        jobs = []
        for i, size in enumerate(sizes):
            stage = i if staged else 0
            piece = Piece(transfer, stage)
            chunk = 0 if two_hops and link.copy_bytes_per_s else link.chunk_bytes
            job = Job(piece, link.read_bytes(size), chunk, second_hop=False)
            piece.chunks_left = ceil_div(job.total, job.chunk_work) if two_hops else 1
            transfer.pieces[stage] += 1
            jobs.append(job)
        transfer.reading = list(transfer.pieces)
        return jobs

    def queue(self, loads: Sequence[Load]) -> None:
        """Queue the jobs of several transfers: expert by expert, or matrix by matrix over all."""
        if self.runtime.parts_order == "matrix":
            for row in zip_longest(*([(load.link, job) for job in load.jobs] for load in loads)):
                for entry in row:
                    if entry is not None:
                        entry[0].queue(entry[1])
        else:
            for load in loads:
                for job in load.jobs:
                    load.link.queue(job)

    # -- demand -----------------------------------------------------------------------------------

    def fetch(self, key: int, *, kept: bool, into_host: bool, whole: bool) -> Load:
        """Make the demand transfer of a missed expert."""
        hops, waits_for = self._route(key)
        transfer = Transfer(key, hops, demand=True, landed=self._landed)
        if kept:
            self.top.pool(key).flying[key] = transfer
        if len(hops) == 2:
            self._enter_host(transfer, into_host=into_host)
        else:
            self._pin_source(transfer)
        return Load(transfer, hops[0], self.jobs(transfer, self.top.size_of(key), whole=whole), waits_for)

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

    def _landed(self, transfer: Transfer, stage: int) -> None:
        key = transfer.key
        if not any(transfer.pieces):
            self.under_way.pop(key, None)
            kept = self.top.pool(key).flying.get(key) is transfer
            if kept:
                self.top.land(key)
            if self.host is not None and transfer.pins_host:
                self.host.unpin(key)
                if kept and self.runtime.exclusive:
                    self.host.remove(key)
        if self.arrived is not None:
            self.arrived(transfer, stage)

    # -- write-backs (exclusive pairs) -------------------------------------------------------------

    def _left_top(self, key: int) -> None:
        fresh = self.fresh.pop(key, None)
        if fresh is not None:
            self.books.unused += 1
            self.wasted.append(fresh)
        if self.runtime.exclusive:
            self.write_backs.append(key)

    def queue_write_backs(self) -> None:
        """Send the victims of an exclusive tier 0 down; a full cache in tier 1 that finds no room drops them."""
        for key in self.write_backs:
            assert self.down is not None
            size = self.top.size_of(key)
            if self.host is not None and not self.host.make_room(self.host.pool(key), size, self.host.pins):
                continue
            transfer = Transfer(key, (self.down,), demand=True, landed=self._written)
            if self.host is not None:
                self.host.take(key, transfer)
                self.host.pool(key).policy.on_insert(key)
            self.writing[key] = transfer
            for job in self.jobs(transfer, size, single=True):
                self.down.queue(job)
        self.write_backs.clear()

    def _written(self, transfer: Transfer, _stage: int) -> None:
        if any(transfer.pieces):
            return
        del self.writing[transfer.key]
        if self.host is not None:
            self.host.land(transfer.key)
        for follow in transfer.followers:
            follow()

    # -- prefetches --------------------------------------------------------------------------------

    def prefetch(self, key: int, for_event: int) -> Load | None:
        """Queue a prefetch unless the key is there, on its way or queued already."""
        if key in self.top.pool(key) or key in self.queued or key in self.writing:
            return None
        hops, _ = self._route(key)
        transfer = Transfer(
            key, hops, demand=False, landed=self._landed, begin=self._begin, for_event=for_event
        )
        self.queued[key] = transfer
        return Load(transfer, hops[0], self.jobs(transfer, self.top.size_of(key)))

    def _begin(self, transfer: Transfer) -> bool:
        """Reserve space for a prefetch whose first job is about to start; False drops it."""
        key = transfer.key
        del self.queued[key]
        pool = self.top.pool(key)
        host = self.host
        source_gone = len(transfer.hops) == 1 and host is not None and not host.has_landed(key)
        if source_gone or not self.top.make_room(pool, self.top.size_of(key), _Guard(self.top.pins, self.shields)):
            self.books.dropped += 1
            return False
        self.top.take(key, transfer)
        pool.policy.on_insert(key)
        self.fresh[key] = self.under_way[key] = transfer
        self.books.started += 1
        if len(transfer.hops) == 2:
            room = (
                host is not None
                and key not in host.pool(key)
                and host.make_room(host.pool(key), self.top.size_of(key), host.pins)
            )
            if room and host is not None:
                host.take(key, transfer)
                host.pool(key).policy.on_insert(key)
            self._enter_host(transfer, into_host=room)
        else:
            self._pin_source(transfer)
        self.queue_write_backs()
        return True

    def stale(self, event: int, demanded: Container[int]) -> None:
        """Speculation for ``event`` is over: end its shields, drop what waits, cancel what may be cancelled."""
        for key in [k for k, last in self.shields.items() if last <= event]:
            del self.shields[key]
        cancel = self.runtime.cancel
        for key, transfer in list(self.queued.items()):
            if key in demanded or (cancel != "none" and transfer.for_event <= event):
                del self.queued[key]
                transfer.hops[0].forget(transfer)
                self.books.dropped += 1
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
            elif transfer.pins_host:
                self.host.unpin(key)

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
        self.books.dropped += len(self.queued)
        self.queued.clear()
        return sum(transfer.moved_bytes for transfer in self.wasted)


class _Guard:
    """Membership in pins or shields."""

    __slots__ = ("pins", "shields")

    def __init__(self, pins: Container[int], shields: Container[int]) -> None:
        self.pins, self.shields = pins, shields

    def __contains__(self, key: object) -> bool:
        return key in self.pins or key in self.shields


def check_chunks(links: Iterable[LinkPlan]) -> None:
    """Refuse a chunk that a link could move in less than a nanosecond."""
    for link in links:
        fastest = max([link.bytes_per_s, link.lane_bytes_per_s, *(row[2] for row in link.table)])
        if 0 < link.chunk_bytes * 1_000_000_000 < fastest:
            msg = f"link {link.name}: a chunk of {link.chunk_bytes} bytes takes less than a nanosecond"
            raise ValueError(msg)
