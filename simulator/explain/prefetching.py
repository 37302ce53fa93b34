"""Prefetching: how much it brings, how late and how wasteful it is, and why it does not help."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from simulator.results.metrics import Value


@dataclass(frozen=True, slots=True)
class Prefetching:
    """Shares: ``accuracy`` of those started, ``late`` of those useful, ``waste`` of bytes moved.

    ``waiting`` is the share of a token's time that still goes to links; ``started`` 0: nothing was
    prefetched.
    """

    started: int
    accuracy: float
    late: float
    waste: float
    waiting: float

    @property
    def sentence(self) -> str:
        """Say whether prefetching helps, and what keeps it from helping more."""
        if not self.started:
            return "Nothing is prefetched."
        if self.waiting < 0.02:
            return "Prefetching hides nearly all transfers."
        used = f"{self.accuracy:.0%} are used"
        if self.accuracy < 0.5:
            return f"Most prefetches are wrong ({used}): {self.waste:.0%} of the bytes moved are wasted."
        if self.late > 0.5:
            return f"Prefetches are right ({used}) but late: {self.late:.0%} are awaited when they arrive."
        return f"Prefetches are right ({used}) and in time, but too few: what is missed was not foreseen."


def of(metrics: Mapping[str, Value], waiting: float) -> Prefetching:
    """Return what the metrics of a run say of its prefetching."""

    def number(name: str) -> float:
        found = metrics.get(name)
        return float(found) if isinstance(found, (int, float)) else 0.0

    started = number("started_prefetches")
    accuracy = number("prefetch_accuracy")
    useful = started * accuracy
    moved = sum(number(f"bytes_{link}") for link in ("cpu_to_gpu", "ssd_to_gpu", "ssd_to_cpu"))
    return Prefetching(
        started=int(started),
        accuracy=accuracy,
        late=min(1.0, number("late") / useful) if useful else 0.0,
        waste=number("wasted_bytes") / moved if moved else 0.0,
        waiting=waiting,
    )
