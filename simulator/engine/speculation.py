"""Speculation: prefetches from the wish to their end, and the books that are kept of them."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.engine.jobs import Transfer

if TYPE_CHECKING:
    from simulator.engine.link import Link
    from simulator.engine.loader import Loader


@dataclass(slots=True)
class PrefetchBooks:
    """Every started prefetch ends once: useful, unused or cancelled; ``dropped`` never started."""

    started: int = 0
    useful: int = 0
    unused: int = 0
    cancelled: int = 0
    dropped: int = 0


class Speculation:
    """Prefetches of a loader: queued, started (``fresh`` until used), landed; or removed, or cancelled.

    ``shields`` says until which event a predicted expert is spared by eviction in tier 0.
    """

    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        self.books = PrefetchBooks()
        self.queued: dict[int, Transfer] = {}  # not started
        self.read_ahead = 0  # of these, how many have begun the first of two hops
        self.fresh: dict[int, Transfer] = {}  # started and not used yet
        self.under_way: dict[int, Transfer] = {}  # started and not landed
        self.wasted: list[Transfer] = []
        self.shields: dict[int, int] = {}

    def waits(self, transfer: Transfer) -> bool:
        """Return whether a prefetch still waits for its start."""
        return self.queued.get(transfer.key) is transfer

    def left(self, key: int) -> None:
        """An entry was evicted from tier 0: a prefetch that was not used is unused for good."""
        fresh = self.fresh.pop(key, None)
        if fresh is not None:
            self.books.unused += 1
            self.wasted.append(fresh)

    def lacks(self, key: int) -> bool:
        """Return whether a key is neither there, nor on its way, nor queued."""
        return key not in self.loader.top.pool(key) and key not in self.queued

    def prefetch(self, key: int, for_event: int) -> None:
        """Queue a prefetch of a key that is lacking."""
        hops, waits_for = self.loader.route(key)
        transfer = Transfer(
            key, hops, demand=False, landed=self.loader.landed, begin=self._begin, for_event=for_event
        )
        if len(hops) == 1:
            self.loader.pin_source(transfer)
        transfer.source = waits_for
        self.queued[key] = transfer
        self.loader.queue_one(transfer, waits_for)

    def _begin(self, transfer: Transfer, link: Link) -> bool | None:
        """Take space in the tier that ``link`` leads to, where a prefetch's first job is about to start.

        Return False if it was removed instead, None if enough is read ahead already.
        """
        if link is transfer.hops[-1]:
            begun = self._start(transfer)
        elif self.read_ahead > link.plan.lanes:
            return None
        else:
            begun = self._read_ahead(transfer)
        if not begun:
            self._remove(transfer)
        return begun

    def _start(self, transfer: Transfer) -> bool:
        """Reserve space in tier 0."""
        key, top = transfer.key, self.loader.top
        pool = top.pool(key)
        of_event = len(self.loader.write_backs)  # victims of an event that queues nothing yet
        done = top.make_room(pool, top.size_of(key), _Guard(top.pins, self.shields))
        self.loader.queue_write_backs(of_event)
        if not done:
            return False
        del self.queued[key]
        self.read_ahead -= transfer.entered
        top.take(key, transfer)
        pool.policy.on_insert(key)
        self.fresh[key] = self.under_way[key] = transfer
        self.books.started += 1
        return True

    def _read_ahead(self, transfer: Transfer) -> bool:
        """Reserve space in tier 1, or else slots of host staging, for the first of two hops."""
        key, host = transfer.key, self.loader.host
        assert host is not None
        room = host.make_room(host.pool(key), host.size_of(key), host.pins)
        if room:
            host.take(key, transfer)
            host.pool(key).policy.on_insert(key)
        elif not self.loader.fabric.slots.most_speculative:
            return False
        self.loader.enter_host(transfer, into_host=room)
        self.read_ahead += 1
        return True

    def _remove(self, transfer: Transfer, *, stop: bool = False) -> None:
        """Forget a prefetch that has not started; what was begun of its read ends in tier 1, if it may.

        ``stop`` says that it may not.
        """
        del self.queued[transfer.key]
        self.read_ahead -= transfer.entered
        self.books.dropped += 1
        for link in transfer.hops[transfer.entered :]:
            link.forget(transfer)
        if transfer.entered and any(transfer.reading):
            if stop or transfer.needs_slots:
                self._stop(transfer)
            else:
                transfer.stopped = True
        elif transfer.needs_slots:  # read, and not on its way to tier 0 yet
            self.wasted.append(transfer)
        self.loader.unpin_source(transfer)

    def stale(self, event: int, demanded: Container[int]) -> None:
        """Speculation for ``event`` is over: end its shields, drop what waits, cancel what may be."""
        for key in [k for k, last in self.shields.items() if last <= event]:
            del self.shields[key]
        cancel = self.loader.runtime.cancel
        for key, transfer in list(self.queued.items()):
            if key in demanded or (cancel != "none" and transfer.for_event <= event):
                self._remove(transfer, stop=cancel == "chunk" and key not in demanded)
        if cancel == "chunk":
            for key, transfer in list(self.under_way.items()):
                if transfer.for_event <= event and key not in demanded and key in self.fresh:
                    self._cancel(transfer)

    def _cancel(self, transfer: Transfer) -> None:
        """End a started prefetch."""
        key = transfer.key
        self.books.cancelled += 1
        del self.fresh[key], self.under_way[key]
        self.loader.top.remove(key)
        self._stop(transfer)
        self.loader.unpin_source(transfer)

    def _stop(self, transfer: Transfer) -> None:
        """Take what waits out of the queues; what is on a lane leaves it at the next chunk boundary."""
        transfer.cancelled = True
        self.wasted.append(transfer)
        for link in transfer.hops:
            link.forget(transfer)
            link.leave_paused(transfer, self.loader.fabric.now)
        if transfer.was_read is not None and self.loader.host is not None:
            self.loader.host.remove(transfer.key)

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
