"""Misses by cause: first uses, too small a cache, and a policy that chose badly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from simulator.results.metrics import Value


@dataclass(frozen=True, slots=True)
class Misses:
    """Lookups that did not hit, late ones included, by cause; ``policy`` < 0 where it beats the bound.

    ``compulsory``: experts that were used for the first time. ``capacity``: what Belady's choice misses
    beyond these with the same cache. ``policy``: what the run misses beyond that. The last two are None
    where there is no such bound, and ``why`` says so.
    """

    lookups: int
    missed: int
    compulsory: int
    capacity: int | None
    policy: int | None
    why: str = ""

    @property
    def sentence(self) -> str:
        """Say whose fault the misses are."""
        if not self.missed:
            return "Nothing is missed: every expert that is used is in the cache."
        if self.capacity is None or self.policy is None:
            return f"{self.compulsory / self.missed:.0%} of the misses are first uses; {self.why}."
        parts = {"first uses": self.compulsory, "the size of the cache": self.capacity}
        if self.policy < 0:
            worst = max(parts, key=parts.__getitem__)
            return f"Prefetching leaves fewer misses than Belady's choice; most come from {worst}."
        parts["the choice of who leaves"] = self.policy
        worst = max(parts, key=parts.__getitem__)
        return f"{parts[worst] / self.missed:.0%} of the misses come from {worst}."


def by_cause(metrics: Mapping[str, Value], events: Iterable[Iterable[int]], *, preloaded: bool) -> Misses:
    """Return a run's misses by cause (Hill's three C's without conflicts; Belady's MIN is the bound).

    ``events`` has the experts of each layer step; ``preloaded``: some are there before the run.
    """
    lookups, hits, bound = (metrics[name] for name in ("lookups", "hits", "belady_hit_rate"))
    assert isinstance(lookups, int)
    assert isinstance(hits, int)
    first = len({key for keys in events for key in keys})
    missed = lookups - hits
    if not isinstance(bound, float):
        return Misses(
            lookups,
            missed,
            min(first, missed),
            None,
            None,
            f"Belady has no bound for it ({str(metrics['belady_kind']).removeprefix('none: ')})",
        )
    if preloaded:
        why = "the cache was filled before the run, and Belady's bound starts empty"
        return Misses(lookups, missed, min(first, missed), None, None, why)
    best = lookups - round(Fraction(bound) * lookups)
    return Misses(lookups, missed, first, best - first, missed - best)
