"""The table of rows: rows.csv, and the same as plain data."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import StringIO

from simulator.text import csv_cell
from simulator.validate.rows.verdict import Judged

Cell = str | float | None
COLUMNS = ("id", "source", "quantity", "unit", "published", "simulated", "ratio", "verdict", "reason")


def rows_of(judged: Sequence[Judged]) -> list[dict[str, Cell]]:
    """Return a mapping of COLUMNS for each row; the reason is why it was refused, or its own ``why``."""
    return [
        {
            "id": one.sourced.row.id,
            "source": one.sourced.file.source.title,
            "quantity": one.sourced.row.quantity,
            "unit": one.sourced.row.unit,
            "published": one.sourced.row.value,
            "simulated": one.simulated,
            "ratio": one.ratio,
            "verdict": one.verdict,
            "reason": reason(one),
        }
        for one in judged
    ]


def reason(one: Judged) -> str:
    """Return what is in the way of a row that is not within 30 %."""
    if one.verdict == "within 30 %":
        return ""
    return " ".join(part for part in (one.reason, one.sourced.row.why) if part)


def as_csv(judged: Sequence[Judged]) -> str:
    """Return rows.csv: numbers to six digits, empty where there is none."""
    out = StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows_of(judged):
        writer.writerow({name: _written(cell) for name, cell in row.items()})
    return out.getvalue()


def _written(cell: Cell) -> str:
    if cell is None:
        return ""
    return f"{cell:.6g}" if isinstance(cell, float) else csv_cell(str(cell))
