"""Whether the simulation puts rows in the order that was published."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from simulator.validate.rows.verdict import Judged

EQUAL = 0.01
"""Values that are no further apart, relative to the larger, have no order."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two rows of one ordering, the larger published value first, and whether ours is larger too.

    A ratio is a pair of its own, of its two sides: ``smaller`` is None.
    """

    name: str
    larger: Judged
    smaller: Judged | None
    agrees: bool


def pairs(judged: Sequence[Judged]) -> list[Pair]:
    """Return all pairs of an ordering's rows in one file and quantity, and the sides of each ratio.

    Those that are published as equal are left out; a refused row agrees with none.
    """
    groups: dict[tuple[object, ...], list[Judged]] = defaultdict(list)
    for one in judged:
        row = one.sourced.row
        if row.ordering is not None:
            groups[one.sourced.document.path, row.kind, row.ordering].append(one)
    found = [
        pair
        for (*_, name), rows in groups.items()
        for one, other in combinations(rows, 2)
        if (pair := _pair(str(name), one, other)) is not None
    ]
    return found + [pair for one in judged if (pair := _sides(one)) is not None]


def _pair(name: str, one: Judged, other: Judged) -> Pair | None:
    smaller, larger = sorted((one, other), key=lambda judged: judged.sourced.row.value)
    if _equal(larger.sourced.row.value, smaller.sourced.row.value):
        return None
    there = larger.simulated is not None and smaller.simulated is not None
    return Pair(name, larger, smaller, there and larger.simulated > smaller.simulated)  # type: ignore[operator]


def _sides(one: Judged) -> Pair | None:
    row, simulated = one.sourced.row, one.simulated
    if row.over is None or _equal(max(row.value, 1), min(row.value, 1)):
        return None
    agrees = simulated is not None and simulated != 1 and (simulated > 1) == (row.value > 1)
    return Pair("two sides of a ratio", one, None, agrees)


def _equal(larger: float, smaller: float) -> bool:
    return larger - smaller <= EQUAL * larger
