"""``moesim compare``: the runs of results folders as a table for a terminal, a paper or a program."""

from __future__ import annotations

import io
import json
import math
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulator.errors import InputError

if TYPE_CHECKING:
    from simulator.analysis.compare import Comparison


HEADING = 12  # letters of a line of a heading on a terminal


class Form(StrEnum):
    """What the table is written for."""

    TEXT = "text"
    MARKDOWN = "markdown"
    LATEX = "latex"
    CSV = "csv"
    JSON = "json"


def compare(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="results folders")],
    baseline: Annotated[
        str | None, typer.Option(metavar="SYSTEM", help="what speed-ups are over (default: the first system)")
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="a column of summary.csv, or speed_up (repeatable)"),
    ] = None,
    form: Annotated[Form, typer.Option("--format", help="what is written")] = Form.TEXT,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="default: stdout")] = None,
    force: Annotated[bool, typer.Option("--force", help="replace FILE if it is there")] = False,
) -> None:
    """Put runs side by side: speed-ups on the same sequences with 95 % intervals, and other metrics."""
    from simulator.analysis.compare import compare as compared
    from simulator.plots.save import write

    if out is not None and out.is_dir():
        raise InputError(str(out), "is a folder", "name a file with --out")
    if out is not None and out.exists() and not force:
        raise InputError(str(out), "is there already", "name another file, or replace it with --force")
    found = compared(folders, baseline, metric or [])
    notes = [*found.notes, *_caveats(folders)]
    text = FORMS[form](found, notes)
    if form is Form.CSV:
        for line in notes:
            print(line, file=sys.stderr)
    if out is None:
        sys.stdout.write(text)
    else:
        print(write(out.parent, {out.name: text.encode("utf-8", "replace")})[0])


def _caveats(folders: list[Path]) -> list[str]:
    """Return what a reader of the numbers must know, a sentence each, with its folder where they differ."""
    from simulator.analysis.summary import read_summary
    from simulator.report.caveats import caveats, notes

    said: dict[str, list[str]] = {}
    for folder in folders:
        summary = read_summary(folder)
        lines = caveats(summary, {})
        for kind, words in (("assumed", "assumptions"), ("warning", "warnings")):
            if who := dict.fromkeys(
                name for one in notes(summary) if one.kind == kind for name in one.systems
            ):
                lines.append(f"There are {words} on {', '.join(who)}: see summary.csv.")
        for line in lines:
            said.setdefault(line, []).append(str(folder))
    n = len(folders)
    return [line if len(where) == n else f"{', '.join(where)}: {line}" for line, where in said.items()]


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


def cells(found: Comparison) -> Cells:
    """Return the table as it is read."""
    from simulator.report.words import heading

    names = [*found.who, *found.metrics]
    columns = [_words(found.table[name]) for name in found.who]
    columns += [_numbers(found, name) for name in found.metrics]
    headings = [found.who.get(name) or heading(name) for name in names]
    if "speed_up" in names:
        headings[names.index("speed_up")] = f"speed-up over {found.baseline}"
    at = {(row, names.index(name)) for name, rows in found.best.items() for row in rows}
    rows = [[" ".join(cell.split()) for cell in row] for row in zip(*columns, strict=True)]
    return Cells(headings, rows, len(found.who), at, set(found.blocks))


def _words(values: Any) -> list[str]:
    return [f"{value:g}" if isinstance(value, float) else str(value) for value in values]


def _numbers(found: Comparison, name: str) -> list[str]:
    """Return a metric's cells, a speed-up with its interval."""
    from simulator.report.words import bytes_text, decimals, is_bytes, number

    values = found.table[name]
    if name == "speed_up":
        ends = zip(values, found.table[f"{name}_low"], found.table[f"{name}_high"], strict=True)
        return [_speed_up(*three) for three in ends]
    places = decimals(values)
    text = bytes_text if is_bytes(name) else lambda value: number(value, places)
    return ["" if math.isnan(value) else text(value) for value in values]


def _speed_up(value: float, low: float, high: float) -> str:
    if math.isnan(value):
        return ""
    return f"{value:.2f}" if math.isnan(low) or low == high else f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _text(found: Comparison, notes: list[str]) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = cells(found)
    table = Table(box=box.SIMPLE_HEAD)
    table.padding = (0, 1, 0, 0)
    for place, words in enumerate(shown.headings):
        right = place >= shown.words
        heading = textwrap.fill(words, HEADING, break_long_words=False)
        table.add_column(Text(heading), justify="right" if right else "left", no_wrap=right, overflow="fold")
    for at, row in enumerate(shown.rows):
        if at in shown.blocks:
            table.add_section()
        looks = ["bold" if (at, place) in shown.best else "" for place in range(len(row))]
        table.add_row(*(Text(cell, style=look) for cell, look in zip(row, looks, strict=True)))
    buffer = io.StringIO()
    tty = sys.stdout.isatty()
    console = Console(file=buffer, width=Console().width if tty else 120, force_terminal=tty)
    console.print(table)
    for line in notes:
        console.print(Text(line))
    return buffer.getvalue()


def _markdown(found: Comparison, notes: list[str]) -> str:
    shown = cells(found)
    rule = ["---" if place < shown.words else "---:" for place in range(len(shown.headings))]
    rows = _bold(
        shown, str.maketrans({"|": r"\|", "*": r"\*", "_": r"\_", "<": "&lt;", "`": r"\`"}), "**{}**"
    )
    lines = ["| " + " | ".join(row) + " |" for row in (rows[0], rule, *rows[1:])]
    return "\n".join([*lines, *(["", *notes] if notes else [])]) + "\n"


SPECIAL = {letter: rf"\{letter}" for letter in "&%$#_{}"}
SPECIAL |= {"[": "{[}", "]": "{]}"}  # a bracket at the start of a row would be an argument of the row before
SPECIAL |= {
    letter: rf"\text{name}{{}}"
    for letter, name in (
        ("~", "asciitilde"), ("^", "asciicircum"), ("\\", "backslash"), ("|", "bar"), ("<", "less"),
        (">", "greater"),
    )
}  # fmt: skip


def _latex(found: Comparison, notes: list[str]) -> str:
    """Return a tabular of booktabs; its notes follow as small print."""
    shown, escape = cells(found), str.maketrans(SPECIAL)
    head, *rows = (" & ".join(row) + r" \\" for row in _bold(shown, escape, r"\textbf{{{}}}"))
    align = "l" * shown.words + "r" * (len(shown.headings) - shown.words)
    lines = [rf"\begin{{tabular}}{{{align}}}", r"\toprule", head, r"\midrule"]
    for at, row in enumerate(rows):
        lines += [r"\midrule", row] if at in shown.blocks else [row]
    lines += [r"\bottomrule", r"\end{tabular}"]
    if notes:
        lines += [r"\par\smallskip", rf"{{\footnotesize {' '.join(notes).translate(escape)}\par}}"]
    return "\n".join(lines) + "\n"


def _bold(shown: Cells, escape: dict[int, str], bold: str) -> list[list[str]]:
    """Return headings and rows, escaped, what is best in bold."""
    rows = [[cell.translate(escape) for cell in row] for row in (shown.headings, *shown.rows)]
    for row, column in shown.best:
        rows[row + 1][column] = bold.format(rows[row + 1][column])
    return rows


def _json(found: Comparison, notes: list[str]) -> str:
    rows = [
        {name: None if value is None or value != value else value for name, value in row.items()}  # noqa: PLR0124 - NaN
        for row in found.table.astype(object).to_dict("records")
    ]
    content = {"baseline": found.baseline, "runs": rows, "notes": notes}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


FORMS: dict[Form, Callable[[Comparison, list[str]], str]] = {
    Form.TEXT: _text,
    Form.MARKDOWN: _markdown,
    Form.LATEX: _latex,
    Form.CSV: lambda found, _: found.table.to_csv(index=False, lineterminator="\n"),
    Form.JSON: _json,
}
