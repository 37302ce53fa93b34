"""A row beside its simulation: the ratio, and what is made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from simulator.validate.rows.load import Sourced
from simulator.validate.rows.plan import Planned
from simulator.validate.rows.play import Outcome, RunKey, key_of

NEAR = 0.3
"""How far a row may be off, relative to what was published."""
Verdict = Literal["within 30 %", "off", "refused"]


@dataclass(frozen=True, slots=True)
class Judged:
    """A row and what was simulated; None where that was refused, for ``reason``."""

    sourced: Sourced
    simulated: float | None
    reason: str = ""

    @property
    def ratio(self) -> float | None:
        """Return what was simulated over what was published."""
        return None if self.simulated is None else self.simulated / self.sourced.row.value

    @property
    def error(self) -> float:
        """Return how far the ratio is from 1; infinite where there is none."""
        return float("inf") if self.ratio is None else abs(self.ratio - 1)

    @property
    def verdict(self) -> Verdict:
        """Return what the table says."""
        if self.ratio is None:
            return "refused"
        return "within 30 %" if self.error <= NEAR else "off"


def judge(planned: Planned, outcomes: Mapping[RunKey, Outcome]) -> Judged:
    """Return a row with what its runs measured."""
    row = planned.sourced.row
    values: list[float] = []
    for run in planned.runs:
        outcome = outcomes[key_of(run, row.warm)]
        value = outcome.measures.get(row.quantity)
        if value is None:
            return Judged(planned.sourced, None, outcome.refused or f"the run has no {row.quantity}")
        values.append(value)
    if len(values) == 1:
        return Judged(planned.sourced, values[0])
    if not values[1]:
        return Judged(planned.sourced, None, f"{row.quantity} of the other side is 0")
    return Judged(planned.sourced, values[0] / values[1])


@dataclass(frozen=True, slots=True)
class KindError:
    """The rows of a kind: how many, how many of them were refused, median error, share within 30 %."""

    kind: str
    rows: int
    refused: int
    median: float
    near: float


def errors_by_kind(judged: Sequence[Judged]) -> list[KindError]:
    """Return the errors of each kind, by name, and of all; a refused row is off without bound."""
    kinds = sorted({one.sourced.row.kind for one in judged})
    parts = [(kind, [one for one in judged if one.sourced.row.kind == kind]) for kind in kinds]
    return [_of(kind, rows) for kind, rows in [*parts, ("all", list(judged))]]


def _of(kind: str, rows: Sequence[Judged]) -> KindError:
    errors = np.sort([one.error for one in rows])
    middle = errors[[(len(errors) - 1) // 2, len(errors) // 2]]  # np.median of infinities is NaN
    return KindError(
        kind,
        len(rows),
        sum(one.simulated is None for one in rows),
        float(middle.mean()),
        float((errors <= NEAR).mean()),
    )
