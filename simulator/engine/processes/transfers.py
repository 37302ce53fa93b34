"""What is moved: a transfer, its pieces, and the jobs that carry them over a link (docs/timing.md §5, §7)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulator.engine.processes.links import Link


class Fate(Enum):
    """What is to become of a transfer's bytes; all but the first are of prefetches that were removed (§5)."""

    GOES_ON = 0
    ONLY_READ = 1  # into tier 1, and nothing is forwarded
    STOPPED = 2


@dataclass(slots=True, eq=False)
class Transfer:
    """An expert (or activations, with key -1) on its way over one link, or two (§7).

    ``due`` is the event that a prefetch is for; None for demand. ``kept``: it has a place in tier 0.
    ``into_host``: in tier 1 likewise. ``staged``: each chunk needs a slot of host staging. ``asked``: tier 1
    was asked for space (a prefetch is then read ahead). ``waits_for`` is what brings its source into tier 1.
    """

    key: int
    due: int | None = None
    kept: bool = False
    into_host: bool = False
    staged: bool = False
    asked: bool = False
    fate: Fate = Fate.GOES_ON
    hops: tuple[Link, ...] = ()
    pieces: list[Piece] = field(default_factory=list)
    left: int = 0
    left_on_first: int = 0
    waits_for: Transfer | None = None
    waiters: list[Transfer] = field(default_factory=list)
    landed: bool = False
    moved_bytes: int = 0
    on_landed: Callable[[], None] | None = None

    @property
    def speculative(self) -> bool:
        """Whether it is a prefetch; what has started keeps its class."""
        return self.due is not None

    def of_stage(self, stage: int | None) -> list[Piece]:
        """Return the pieces of a stage, or (None) all."""
        return self.pieces if stage is None else [piece for piece in self.pieces if piece.stage == stage]


@dataclass(slots=True, eq=False)
class Piece:
    """A part of a transfer; ``n_bytes`` as it is read on the first link.

    ``number`` is its place among all that is queued. ``landed`` is its place among all that landed.
    """

    transfer: Transfer
    stage: int
    n_bytes: int
    number: int = -1
    forwarded: int = 0
    chunks: int = 0
    left_first: bool = False
    arrived: int = 0
    landed: int | None = None


@dataclass(slots=True, eq=False)
class Job:
    """A piece on a link, or on a second hop one chunk of it; ``moved`` bytes of it have moved and stay so.

    ``slot``: it holds a slot of host staging.
    """

    piece: Piece
    link: Link
    n_bytes: int
    chunk: int = 0
    second_hop: bool = False
    moved: int = 0
    slot: bool = False

    @property
    def transfer(self) -> Transfer:
        """What it is of."""
        return self.piece.transfer

    @property
    def place(self) -> tuple[int, int]:
        """Its place in a queue (§5)."""
        return self.piece.number, self.chunk

    @property
    def reads_ahead(self) -> bool:
        """Whether another link takes over what it moves."""
        return len(self.transfer.hops) == 2 and not self.second_hop
