"""The tidy table of all statistics: a row a number, with its interval and what it was counted over."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields

Number = float | None


@dataclass(frozen=True, slots=True)
class Row:
    """One number; parameters that it does not have are None, and so is a number that cannot be given.

    ``layer`` counts MoE layers (None: all of them), ``lag`` is in tokens, ``distance`` in layers ahead or in
    experts between two uses, ``size`` in experts per layer. ``low`` and ``high`` bound 95 %. ``n`` is
    what was counted; ``note`` says why a cell is empty.
    """

    statistic: str
    value: Number
    n: int
    layer: int | None = None
    lag: int | None = None
    distance: int | None = None
    m: int | None = None
    rho: float | None = None
    size: int | None = None
    low: Number = None
    high: Number = None
    note: str = ""


COLUMNS = (
    "statistic", "phase", "layer", "lag", "distance", "m", "rho", "size", "value", "low", "high", "n", "note",
)  # fmt: skip
assert set(COLUMNS) == {"phase", *(field.name for field in fields(Row))}


def ratio(above: float, below: float) -> Number:
    """Return a quotient; None where nothing was counted."""
    return float(above) / float(below) if below else None


def mean(values: Iterable[Number]) -> Number:
    """Return the mean of those that are numbers; None if none is."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def to_csv(rows: Iterable[Row], phase: str) -> str:
    """Return rows as CSV; six decimals, so that no library's last bit decides a byte."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        cells = {"phase": phase, **asdict(row)}
        writer.writerow({name: _cell(value) for name, value in cells.items()})
    return text.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.6f}".rstrip("0").rstrip(".")
    return "" if value is None else value
