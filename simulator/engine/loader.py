"""The loader: cuts transfers into jobs, queues them, and knows what landing means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from simulator.engine.fabric import Fabric
from simulator.engine.jobs import Job, Piece, Transfer
from simulator.engine.link import Link
from simulator.engine.plan import RuntimePlan, ceil_div, equal_parts
from simulator.engine.speculation import Speculation
from simulator.engine.tiers import Tier


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
        self.speculation = Speculation(self)
        self.writing: dict[int, Transfer] = {}  # write-backs on their way into tier 1
        self.write_backs: list[Load] = []
        self.landings = 0
        self.arrived: Callable[[Transfer, int], None] = lambda _transfer, _stage: None
        top.on_leave = self._left_top

    # -- cutting ----------------------------------------------------------------------------------

    def jobs(self, transfer: Transfer, n_bytes: int, *, single: bool = False) -> list[Job]:
        """Cut a transfer into its first-hop jobs, one a piece; ``single`` forces one piece."""
        link = transfer.hops[0].plan
        by_matrix = self.runtime.parts_order == "matrix" and not single
        sizes = (n_bytes,) if single else self._sizes(transfer, n_bytes)
        two_hops = len(transfer.hops) == 2
        chunk = 0 if two_hops and link.copy_bytes_per_s else link.chunk_bytes
        transfer.pieces = [0] * (len(sizes) if by_matrix else 1)
        jobs = []
        for i, size in enumerate(sizes):
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

    def _sizes(self, transfer: Transfer, n_bytes: int) -> Sequence[int]:
        """Return the bytes of each piece of an expert."""
        runtime, link, top = self.runtime, transfer.hops[0].plan, self.top
        layer, version = transfer.key // top.keys_per_layer, transfer.key % top.n_versions
        in_parts = runtime.parts_order == "matrix" or (link.split and runtime.parts > 1)
        if in_parts or runtime.tensors:
            return runtime.part_bytes(layer, version, n_bytes)
        return equal_parts(n_bytes, link.lanes if link.split else 1)

    def queue(self, loads: Sequence[Load]) -> None:
        """Queue the jobs of demand transfers: expert by expert, or matrix by matrix over all.

        One whose source is still on its way into tier 1 follows that.
        """
        ready = []
        for load in loads:
            if load.waits_for is not None and any(load.waits_for.reading):
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

    def queue_one(self, transfer: Transfer, waits_for: Transfer | None) -> None:
        """Cut and queue a prefetch."""
        jobs = self.jobs(transfer, self.top.size_of(transfer.key))
        self.queue([Load(transfer, transfer.hops[0], jobs, waits_for)])

    def _arrive(self, transfer: Transfer, stage: int) -> None:
        self.landings += 1
        transfer.landed_as[stage] = self.landings
        self.arrived(transfer, stage)

    # -- demand -----------------------------------------------------------------------------------

    def fetch(self, key: int, *, kept: bool, into_host: bool) -> Load:
        """Make the demand transfer of a missed expert."""
        hops, waits_for = self.route(key)
        transfer = Transfer(key, hops, demand=True, landed=self.landed)
        transfer.source = waits_for
        if kept:
            self.top.pool(key).flying[key] = transfer
        if len(hops) == 2:
            self.enter_host(transfer, into_host=into_host)
        else:
            self.pin_source(transfer)
        return Load(transfer, hops[0], self.jobs(transfer, self.top.size_of(key)), waits_for)

    def route(self, key: int) -> tuple[tuple[Link, ...], Transfer | None]:
        """Return the links from where an expert is to tier 0, and who has to bring it to tier 1 before."""
        assert self.up is not None
        coming = self.writing.get(key)
        if coming is None and self.host is not None:
            entry = self.host.pool(key).flying.get(key)
            coming = entry if isinstance(entry, Transfer) else None
        if coming is not None or self.host is None or self.host.has_landed(key):
            return (self.up,), coming
        assert self.far is not None
        return (self.far, self.up), None

    def enter_host(self, transfer: Transfer, *, into_host: bool) -> None:
        """Let a two-hop transfer land in the place that it has in tier 1, else pass through host staging."""
        if into_host and self.host is not None:
            self.host.pool(transfer.key).flying[transfer.key] = transfer
            transfer.was_read = self._in_host
        else:
            transfer.needs_slots = True

    def _in_host(self, transfer: Transfer) -> None:
        assert self.host is not None
        self.host.land(transfer.key)
        transfer.was_read = None
        if not transfer.stopped:
            self.pin_source(transfer)
        self._release_followers(transfer)

    def pin_source(self, transfer: Transfer) -> None:
        """Keep the copy that a transfer reads from in tier 1 until it has landed."""
        if self.host is not None:
            self.host.pin(transfer.key)
            transfer.pins_host = True

    def unpin_source(self, transfer: Transfer) -> None:
        """Give the copy that a transfer read from free."""
        if transfer.pins_host and self.host is not None:
            self.host.unpin(transfer.key)
            transfer.pins_host = False

    def landed(self, transfer: Transfer, stage: int) -> None:
        """A stage's pieces are all in tier 0; with the last one the expert is."""
        key = transfer.key
        if not any(transfer.pieces):
            self.speculation.under_way.pop(key, None)
            kept = self.top.pool(key).flying.get(key) is transfer
            if kept:
                self.top.land(key)
            self.unpin_source(transfer)
            if kept and self.runtime.exclusive and self.host is not None and self.host.has_landed(key):
                self.host.remove(key)
        self._arrive(transfer, stage)

    # -- write-backs (exclusive pairs) -------------------------------------------------------------

    def _left_top(self, key: int) -> None:
        self.speculation.left(key)
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

    def queue_write_backs(self, first: int = 0) -> None:
        """Send the victims of an exclusive tier 0 down, those from the ``first`` on."""
        for load in self.write_backs[first:]:
            for job in load.jobs:
                load.link.queue(job)
        del self.write_backs[first:]

    def _written(self, transfer: Transfer, _stage: int) -> None:
        del self.writing[transfer.key]
        if self.host is not None:
            self.host.land(transfer.key)
        self._release_followers(transfer)

    def _release_followers(self, transfer: Transfer) -> None:
        """Queue what waited for a key to be in tier 1, but for prefetches that were removed meanwhile."""
        for load in transfer.followers:
            if load.transfer.demand or self.speculation.waits(load.transfer):
                self.queue([load])
