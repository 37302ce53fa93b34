"""All statistics of a trace's locality, and looking one of them up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from simulator.trace.core import DECODE, Trace, TraceHeader
from simulator.trace.locality.bootstrap import Bootstrap
from simulator.trace.locality.distances import distances
from simulator.trace.locality.popularity import popularity
from simulator.trace.locality.prediction import next_layer, recorded_predictions
from simulator.trace.locality.reuse import reuse
from simulator.trace.locality.routing import PHASES, Routing, select
from simulator.trace.locality.sch import sch
from simulator.trace.locality.srp import srp
from simulator.trace.locality.table import Row


@dataclass(frozen=True, slots=True)
class Locality:
    """The rows of the table, and what they were counted over; ``decodes``: some tokens were generated."""

    header: TraceHeader
    phase: str
    routing: Routing
    decodes: bool
    rows: tuple[Row, ...]

    def of(self, statistic: str, **at: float) -> Row | None:
        """Return the row of a statistic over all layers at the given parameters, if there is one."""
        found = (
            row
            for row in self.rows
            if row.statistic == statistic
            and row.layer is None
            and all(getattr(row, name) == value for name, value in at.items())
        )
        return next(found, None)

    def value(self, statistic: str, **at: float) -> float | None:
        """Return the number in that row; None where it cannot be given."""
        row = self.of(statistic, **at)
        return row.value if row else None


def analyse(trace: Trace, phase: str = "all") -> Locality:
    """Return the locality of one phase of a valid trace. Errors: InputError where it has no such tokens."""
    routing = select(trace, phase)
    decodes = DECODE in PHASES[phase] and bool((trace.phase == DECODE).any())
    return Locality(trace.header, phase, routing, decodes, tuple(_rows(routing)))


def _rows(routing: Routing) -> Iterator[Row]:
    bootstrap = Bootstrap(len(routing.sequence_starts))
    yield from reuse(routing, bootstrap)
    yield from popularity(routing)
    yield from distances(routing)
    yield from next_layer(routing)
    yield from recorded_predictions(routing)
    yield from srp(routing, bootstrap)
    yield from sch(routing, bootstrap)
