"""Speculation: prefetches from the wish to their end, and the books that are kept of them."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.engine.jobs import Transfer

if TYPE_CHECKING:
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
    """Prefetches of a loader: queued, started (``fresh`` until used), landed; or dropped, cancelled.

    ``shields`` says until which event a predicted expert is spared by eviction in tier 0.
    """

    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        self.books = PrefetchBooks()
        self.queued: dict[int, Transfer] = {}  # not started
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

    def prefetch(self, key: int, for_event: int) -> None:
        """Queue a prefetch unless the key is there, on its way or queued already."""
        if key in self.loader.top.pool(key) or key in self.queued:
            return
        hops, waits_for = self.loader.route(key)
        transfer = Transfer(
            key, hops, demand=False, landed=self.loader.landed, begin=self._begin, for_event=for_event
        )
        if len(hops) == 1:
            self.loader.pin_source(transfer)
        self.queued[key] = transfer
        self.loader.queue_one(transfer, waits_for)

    def _begin(self, transfer: Transfer) -> bool:
        """Reserve space for a prefetch whose first job is about to start; False drops it."""
        key = transfer.key
        pool = self.loader.top.pool(key)
        done = self.loader.top.make_room(
            pool, self.loader.top.size_of(key), _Guard(self.loader.top.pins, self.shields)
        )
        self.loader.queue_write_backs()
        if not done:
            self._drop(transfer)
            return False
        del self.queued[key]
        self.loader.top.take(key, transfer)
        pool.policy.on_insert(key)
        self.fresh[key] = self.under_way[key] = transfer
        self.books.started += 1
        host = self.loader.host
        if len(transfer.hops) == 2 and host is not None:
            room = host.make_room(host.pool(key), host.size_of(key), host.pins)
            if room:
                host.take(key, transfer)
                host.pool(key).policy.on_insert(key)
            self.loader.enter_host(transfer, into_host=room)
        return True

    def _drop(self, transfer: Transfer) -> None:
        """Forget a prefetch that never started."""
        del self.queued[transfer.key]
        transfer.hops[0].forget(transfer)
        self.books.dropped += 1
        self.loader.unpin_source(transfer)

    def stale(self, event: int, demanded: Container[int]) -> None:
        """Speculation for ``event`` is over: end its shields, drop what waits, cancel what may be."""
        for key in [k for k, last in self.shields.items() if last <= event]:
            del self.shields[key]
        cancel = self.loader.runtime.cancel
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
        self.loader.top.remove(key)
        if self.loader.host is not None:
            if transfer.was_read is not None:
                self.loader.host.remove(key)
            self.loader.unpin_source(transfer)

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
