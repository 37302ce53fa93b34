"""The table of ``moesim compare`` as it is read: headings and cells in words, the best of them in bold."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator.analysis.compare import Comparison

SHARE = 3  # decimals of numbers up to one where they are brief
BOLD = "Bold: the best of those side by side, whether intervals overlap or not."


@dataclass(frozen=True, slots=True)
class Cells:
    """A table as text: headings, rows, how many of the columns at the left are words, and who is best."""

    headings: list[str]
    rows: list[list[str]]
    words: int
    best: set[tuple[int, int]]
    """(row, column)"""
    blocks: set[int]
    """Rows that begin another panel or size."""


def cells(found: Comparison, *, brief: bool = False) -> Cells:
    """Return the table as it is read; ``brief`` has shares as ``.299``."""
    from simulator.report.words import heading

    names = [*found.who, *found.metrics]
    columns = [_words(found.table[name]) for name in found.who]
    columns += [_numbers(found, name, brief=brief) for name in found.metrics]
    headings = [found.who.get(name) or heading(name) for name in names]
    if "speed_up" in names:
        headings[names.index("speed_up")] = (
            f"speed-up over {found.baseline}" if found.baseline else "speed-up"
        )
    at = {(row, names.index(name)) for name, rows in found.best.items() for row in rows}
    rows = [[" ".join(cell.split()) for cell in row] for row in zip(*columns, strict=True)]
    return Cells(headings, rows, len(found.who), at, set(found.blocks))


def _words(values: Any) -> list[str]:
    return [f"{value:g}" if isinstance(value, float) else str(value) for value in values]


def _numbers(found: Comparison, name: str, *, brief: bool) -> list[str]:
    """Return a metric's cells, a speed-up with its interval."""
    from simulator.numerals import fixed
    from simulator.report.words import bytes_text, decimals, is_bytes

    values = found.table[name]
    if name == "speed_up":
        ends = zip(values, found.table[f"{name}_low"], found.table[f"{name}_high"], strict=True)
        return [_speed_up(*three) for three in ends]
    if brief and values.between(0, 1).eq(values.notna()).all() and decimals(values):
        return ["" if math.isnan(value) else fixed(value, SHARE).removeprefix("0") for value in values]
    places = decimals(values)
    text = bytes_text if is_bytes(name) else lambda value: fixed(value, places)
    return ["" if math.isnan(value) else text(value) for value in values]


def _speed_up(value: float, low: float, high: float) -> str:
    if math.isnan(value):
        return ""
    return f"{value:.2f}" if math.isnan(low) or low == high else f"{value:.2f} [{low:.2f}, {high:.2f}]"


def short(shown: Cells) -> Cells:
    """Return the table with folders by what their paths do not share."""
    if shown.headings[0] != "folder":
        return shown
    paths = [Path(os.path.normpath(Path(row[0]).absolute())) for row in shown.rows]
    common = os.path.commonpath([path.parent for path in paths])
    rows = [[str(path.relative_to(common)), *row[1:]] for path, row in zip(paths, shown.rows, strict=True)]
    return replace(shown, rows=rows)


def bold(shown: Cells, escape: dict[int, str], bold: str) -> list[list[str]]:
    """Return headings and rows, escaped, what is best in bold."""
    rows = [[cell.translate(escape) for cell in row] for row in (shown.headings, *shown.rows)]
    for row, column in shown.best:
        rows[row + 1][column] = bold.format(rows[row + 1][column])
    return rows
