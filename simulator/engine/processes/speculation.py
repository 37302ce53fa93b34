"""Speculation: the life of a prefetch, from its wish to its one end (docs/timing.md §4.2, §5)."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass

from simulator.engine.processes.carrier import Carrier
from simulator.engine.processes.links import Phase
from simulator.engine.processes.transfers import Fate, Transfer


@dataclass(slots=True)
class Ends:
    """How prefetches ended (§5, "Ends"), and those that never started."""

    started: int = 0
    useful: int = 0
    unused: int = 0
    cancelled: int = 0
    dropped: int = 0


class Speculation:
    """Prefetches and shields.

    ``waiting`` are those that have not started, by key. ``unused`` are those that have started and were not
    demanded since. ``shields`` has the last event that each shielded key is predicted for.
    """

    def __init__(self, carrier: Carrier) -> None:
        self.carrier = carrier
        self.top, self.host, self.cancels = carrier.top, carrier.host, carrier.runtime.cancel
        self.waiting: dict[int, Transfer] = {}
        self.unused: dict[int, Transfer] = {}
        self.shields: dict[int, int] = {}
        self.read_ahead = 0
        self.ends = Ends()
        self.wasted: list[Transfer] = []
        self.release: Callable[[], None] = lambda: None

    # -- a wish (§4.7) ----------------------------------------------------------------------------

    def wanted(self, key: int, demand: Container[int]) -> bool:
        """Return whether to queue a wish: its key is neither there, nor on its way, nor demanded now."""
        return key not in demand and key not in self.top.pool(key) and key not in self.waiting

    def queue(self, key: int, due: int) -> None:
        """Queue a prefetch for event ``due``, and pin its source (§5)."""
        transfer = self.waiting[key] = Transfer(key, due)
        if self.host is not None:
            self.host.pin(key)
        self.carrier.queue([transfer])

    def shield(self, key: int, due: int) -> None:
        """Shield a key until the event that it is predicted for (§4.7)."""
        self.shields[key] = max(due, self.shields.get(key, due))

    # -- its start (§5) ---------------------------------------------------------------------------

    def may_read_ahead(self) -> bool:
        """Return whether one more prefetch may be read ahead: lanes of the link into tier 1, and one."""
        assert self.carrier.read is not None
        return self.read_ahead <= len(self.carrier.read.lanes)

    def read(self, transfer: Transfer) -> bool:
        """Ask tier 1 for space, once, as the read is about to begin; False where it is removed (§5)."""
        host, key = self.host, transfer.key
        assert host is not None
        transfer.asked = True
        self.read_ahead += 1
        if host.make_room(host.pool(key), host.size_of(key)):
            transfer.into_host = True
            host.take_in(key, transfer)
            host.pool(key).policy.on_insert(key)
        elif self.carrier.staging.for_speculation:
            transfer.staged = True
        else:
            self._remove(transfer, stop=True)
            return False
        return True

    def start(self, transfer: Transfer) -> bool:
        """Ask tier 0 for space as the first job is about to start; False where it is removed (§5)."""
        top, key = self.top, transfer.key
        if not top.make_room(top.pool(key), top.size_of(key), self.shields):
            self._remove(transfer, stop=False)
            return False
        del self.waiting[key]
        self.read_ahead -= transfer.asked
        transfer.kept = True
        top.take_in(key, transfer)
        self.unused[key] = transfer
        self.ends.started += 1
        top.pool(key).policy.on_insert(key)
        return True

    # -- its ends (§4.2, §5) ------------------------------------------------------------------------

    def stale(self, event: int, demand: Container[int]) -> None:
        """End what was speculated for this event or an earlier one; give way to what it demands (§4.2)."""
        for key, due in list(self.shields.items()):
            if due <= event:
                del self.shields[key]
        for key, transfer in list(self.waiting.items()):
            if key in demand:
                self._remove(transfer, stop=False)
            elif _is_due(transfer, event) and self.cancels != "none":
                self._remove(transfer, stop=self.cancels == "chunk")
        if self.cancels == "chunk":
            for key, transfer in list(self.unused.items()):
                if _is_due(transfer, event) and key not in demand and not transfer.landed:
                    self._cancel(transfer)

    def used(self, key: int) -> None:
        """Note that a key was demanded, as hit or late."""
        if self.unused.pop(key, None) is not None:
            self.ends.useful += 1

    def left(self, key: int) -> None:
        """Note that a key was evicted from tier 0."""
        if (transfer := self.unused.pop(key, None)) is not None:
            self.ends.unused += 1
            self.wasted.append(transfer)

    def close(self) -> int:
        """End what is there, or on its way, when the run ends (§5); return the bytes that were wasted."""
        for transfer in self.unused.values():
            if transfer.landed:
                self.ends.unused += 1
            else:
                self.ends.cancelled += 1
            self.wasted.append(transfer)
        self.unused.clear()
        return sum(transfer.moved_bytes for transfer in self.wasted)

    def _remove(self, transfer: Transfer, *, stop: bool) -> None:
        """Drop a prefetch that has not started; a read that has begun may go on into tier 1 (§5)."""
        del self.waiting[transfer.key]
        self.ends.dropped += 1
        self.read_ahead -= transfer.asked
        self._let_source_go(transfer)
        if transfer.waits_for is not None:
            transfer.waits_for.waiters.remove(transfer)
        if transfer.into_host and (not stop or not self._is_read(transfer)):
            transfer.fate = Fate.ONLY_READ
            self._withdraw_from(transfer, -1)
        else:
            self._stop(transfer)
        self.carrier.look()

    def _cancel(self, transfer: Transfer) -> None:
        """Cancel a prefetch that has started: its space is free at once (§4.2, §5)."""
        del self.unused[transfer.key]
        self.ends.cancelled += 1
        self.top.remove(transfer.key)
        self._let_source_go(transfer)
        self._stop(transfer)
        self.carrier.look()

    def _is_read(self, transfer: Transfer) -> bool:
        """Return whether a transfer is in flight into tier 1."""
        return self.host is not None and self.host.bringing(transfer.key) is transfer

    def _let_source_go(self, transfer: Transfer) -> None:
        if self.host is not None:
            self.host.unpin(transfer.key)

    def _stop(self, transfer: Transfer) -> None:
        """Stop what moves: at the next boundary, or at once where it is paused (§5)."""
        transfer.fate = Fate.STOPPED
        self.wasted.append(transfer)
        if self.host is not None and self._is_read(transfer):
            self.host.remove(transfer.key)
        for hop, link in enumerate(transfer.hops):
            self._withdraw_from(transfer, hop)
            for lane in link.lanes:
                if lane.phase is Phase.PAUSED and lane.job is not None and lane.job.transfer is transfer:
                    lane.leave()

    def _withdraw_from(self, transfer: Transfer, hop: int) -> None:
        """Take a transfer's waiting jobs off one of its links; chunks give their slots back."""
        if transfer.hops:
            for job in transfer.hops[hop].withdraw(transfer):
                self.carrier.free_slot(job)


def _is_due(transfer: Transfer, event: int) -> bool:
    """Return whether a prefetch is for an event, or for one before that had no demand (§4.2)."""
    return transfer.due is not None and transfer.due <= event
