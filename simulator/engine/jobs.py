"""Transfers, the pieces they are cut into, and the jobs that carry pieces over links."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING

from simulator.engine.plan import NS_PER_S, ceil_div

if TYPE_CHECKING:
    from simulator.engine.link import Link
    from simulator.engine.loader import Load


class Phase(Enum):
    """Where a job stands; a waiting job is in a queue."""

    WAITING = 0
    LATENCY = 1
    MOVING = 2
    COPYING = 3
    PAUSED = 4


class Transfer:
    """Bytes on their way: life is queued, started, landed (piece by piece), or cancelled or dropped.

    ``hops`` are the links to travel in order. ``begin`` is asked when a link is about to start a prefetch's
    first job on it (False: it was removed; None: not yet); ``entered`` counts the hops that it has begun.
    ``was_read`` is called when the first of two hops has ended for all pieces, ``landed`` when a stage's
    pieces are all there. ``followers`` wait for its first hop, ``source`` is whom it follows itself.
    ``stopped``: it is read, but goes no further.
    """

    __slots__ = (
        "begin", "cancelled", "demand", "entered", "followers", "for_event", "hops", "key", "landed",
        "landed_as", "moved_bytes", "needs_slots", "pieces", "pins_host", "reading", "source", "stopped",
        "was_read",
    )  # fmt: skip

    def __init__(
        self,
        key: int,
        hops: tuple[Link, ...],
        *,
        demand: bool,
        landed: Callable[[Transfer, int], None],
        begin: Callable[[Transfer, Link], bool | None] | None = None,
        for_event: int = -1,
    ) -> None:
        self.key = key
        self.hops = hops
        self.demand = demand
        self.landed = landed
        self.begin = begin
        self.for_event = for_event
        self.entered = 0
        self.cancelled = False
        self.stopped = False
        self.needs_slots = False
        self.pins_host = False
        self.landed_as: list[int] = []  # by stage: its place in the order of all landings
        self.pieces: list[int] = []  # by stage: pieces that have not landed
        self.reading: list[int] = []  # by stage: pieces that have not ended their first hop
        self.moved_bytes = 0
        self.was_read: Callable[[Transfer], None] | None = None
        self.followers: list[Load] = []
        self.source: Transfer | None = None

    def link_on(self, stage: int | None) -> Link:
        """Return the link that a stage's bytes (None: any) are on: the first hop until all have been read."""
        source = self.source
        if source is not None and len(source.hops) == 2 and any(source.reading):
            return source.hops[0]
        reading = any(self.reading) if stage is None else self.reading[stage]
        return self.hops[0] if reading else self.hops[-1]


class Piece:
    """A part of a transfer that lands on its own; ``chunks_left`` counts those still on the second hop.

    ``number`` is its place in the order in which pieces were queued; ``sent`` counts the chunks forwarded.
    """

    __slots__ = ("chunks_left", "number", "sent", "stage", "transfer")

    def __init__(self, transfer: Transfer, stage: int) -> None:
        self.transfer = transfer
        self.stage = stage
        self.chunks_left = 0
        self.number = self.sent = 0


class Job:
    """A piece (first hop) or one chunk of it (second hop), occupying one lane of one link.

    Work is counted in bytes x 10^9, so that one nanosecond at ``rate`` bytes/s does ``rate`` of it
    and progress stays exact; ``left`` is the work not done at ``since``. ``chunk`` numbers the chunks of a
    piece on the second hop.
    """

    __slots__ = (
        "at_boundary", "bytes", "chunk", "chunk_work", "counted", "finish", "forwarded", "left", "phase",
        "piece", "rate", "second_hop", "since", "total",
    )  # fmt: skip

    def __init__(self, piece: Piece, n_bytes: int, chunk_bytes: int, *, second_hop: bool) -> None:
        self.piece = piece
        self.bytes = n_bytes
        self.total = n_bytes * NS_PER_S
        self.left = self.total
        self.chunk_work = chunk_bytes * NS_PER_S if 0 < chunk_bytes < n_bytes else self.total
        self.second_hop = second_hop
        self.chunk = piece.sent
        piece.sent += second_hop
        self.phase = Phase.WAITING
        self.rate = 0
        self.since = 0
        self.finish = 0
        self.counted = 0
        self.forwarded = 0
        self.at_boundary = False

    def progress(self, now: int) -> None:
        """Account for what was moved since ``since`` at the rate of that time."""
        self.left -= self.rate * (now - self.since)
        self.since = now

    def next_boundary(self) -> int:
        """Return the work left at the next chunk boundary (0: the end)."""
        done = self.forwarded or (self.total - self.left) // self.chunk_work * self.chunk_work
        return max(0, self.total - done - self.chunk_work)

    def target(self, work_left: int, now: int) -> None:
        """Set ``finish`` to the first nanosecond at which only ``work_left`` is left."""
        self.finish = max(now, now + ceil_div(self.left - work_left, self.rate))

    def passed_boundary(self, now: int) -> bool:
        """Return whether a boundary was crossed within the last nanosecond (call after ``progress``)."""
        done = self.total - self.left
        return done >= self.chunk_work and done % self.chunk_work < self.rate and self.left > 0

    def back_to_boundary(self) -> None:
        """Forget progress past the last boundary (on a first hop: past what was forwarded)."""
        done = self.forwarded or (self.total - self.left) // self.chunk_work * self.chunk_work
        self.left = self.total - done

    def count(self) -> int:
        """Return the bytes moved that were not counted yet, and count them."""
        moved = (self.total - self.left) // NS_PER_S - self.counted
        self.counted += moved
        return moved
