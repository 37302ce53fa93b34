"""``moesim compare``: the runs of results folders as a table for a terminal, a paper or a program."""

from __future__ import annotations

import io
import json
import sys
import textwrap
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.cli.compare_cells import BOLD, Cells, bold, cells, short
from simulator.cli.compare_latex import latex
from simulator.files import check_target
from simulator.text import csv_cell

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from simulator.analysis.compare import Comparison


PAGE = 120  # letters of a line where there is no terminal
HEADING = 12  # letters of a line of a heading


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
        str | None,
        typer.Option(metavar="SYSTEM", help="what speed-ups are over (default: the first of each folder)"),
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

    if out is not None:
        check_target(out, force=force)
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


def _text(found: Comparison, notes: list[str]) -> str:
    from rich.console import Console
    from rich.text import Text

    buffer = io.StringIO()
    tty = sys.stdout.isatty()
    console = Console(file=buffer, width=Console().width if tty else PAGE, force_terminal=tty)
    unbounded = console.options.update(max_width=sys.maxsize)
    shown = short(cells(found))
    table = _drawn(shown)
    if console.measure(table, options=unbounded).maximum > console.width:
        table = _drawn(shown, HEADING)
    console.width, page = max(console.width, console.measure(table, options=unbounded).maximum), console.width
    console.print(table)
    console.width = page
    for line in [*notes, *([BOLD] if tty and shown.best else [])]:
        console.print(Text(line))
    return buffer.getvalue()


def _drawn(shown: Cells, width: int | None = None) -> Table:
    """Return the table for a terminal, words on lines of ``width`` letters."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    table.padding = (0, 1, 0, 0)
    for place, words in enumerate(shown.headings):
        right = place >= shown.words
        heading = textwrap.fill(words, HEADING, break_long_words=False)
        table.add_column(Text(heading), justify="right" if right else "left", no_wrap=True)
    for at, row in enumerate(shown.rows):
        if at in shown.blocks:
            table.add_section()
        if width:
            lines = [textwrap.fill(cell, width, break_long_words=False) for cell in row[: shown.words]]
            row = [*lines, *row[shown.words :]]  # noqa: PLW2901
        looks = ["bold" if (at, place) in shown.best else "" for place in range(len(row))]
        table.add_row(*(Text(cell, style=look) for cell, look in zip(row, looks, strict=True)))
    return table


def _markdown(found: Comparison, notes: list[str]) -> str:
    shown = cells(found)
    rule = ["---" if place < shown.words else "---:" for place in range(len(shown.headings))]
    rows = bold(shown, str.maketrans({"|": r"\|", "*": r"\*", "_": r"\_", "<": "&lt;", "`": r"\`"}), "**{}**")
    lines = ["| " + " | ".join(row) + " |" for row in (rows[0], rule, *rows[1:])]
    notes = [*notes, BOLD] if shown.best else notes
    return "\n".join([*lines, *(["", *notes] if notes else [])]) + "\n"


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
    Form.LATEX: latex,
    Form.CSV: lambda found, _: _safe(found.table).to_csv(index=False, lineterminator="\n"),
    Form.JSON: _json,
}


def _safe(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose texts no spreadsheet takes for formulas."""
    return table.map(lambda cell: csv_cell(cell) if isinstance(cell, str) else cell)
