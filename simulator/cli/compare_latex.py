"""The table of ``moesim compare`` for a paper: LaTeX that fits a page of two columns."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from simulator.cli.compare_cells import BOLD, Cells, bold, cells, short

if TYPE_CHECKING:
    from simulator.analysis.compare import Comparison

NARROW = 10  # letters of a line of a heading, unless the numbers below are wider
NAMES = ("folder", "model", "hardware", "trace", "system")
SPECIAL = {letter: rf"\{letter}" for letter in "&%$#_{}"}
SPECIAL |= {"[": "{[}", "]": "{]}"}  # a bracket at the start of a row would be an argument of the row before
SPECIAL |= {
    letter: rf"\text{name}{{}}"
    for letter, name in (
        ("~", "asciitilde"), ("^", "asciicircum"), ("\\", "backslash"), ("|", "bar"), ("<", "less"),
        (">", "greater"),
    )
}  # fmt: skip


def latex(found: Comparison, notes: list[str]) -> str:
    """Return a tabular of booktabs, a line above rows for what they share; notes follow in small print."""
    shown, escape = short(cells(found, brief=True)), str.maketrans(SPECIAL)
    shown, titles = _titled(shown)
    _, *rows = bold(shown, escape, r"\textbf{{{}}}")
    head = [_stacked(shown, place, escape) for place in range(len(shown.headings))]
    align = "l" * shown.words + "r" * (len(shown.headings) - shown.words)
    lines = [rf"\begin{{tabular}}{{{align}}}", r"\toprule", " & ".join(head) + r" \\", r"\midrule"]
    for at, row in enumerate(rows):
        if at in shown.blocks:
            lines.append(r"\midrule")
        if title := titles.get(at, "").translate(escape):
            lines.append(rf"\multicolumn{{{len(row)}}}{{l}}{{\emph{{{title}}}}} \\")
        lines.append(" & ".join(row) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    notes = [*notes, BOLD] if shown.best else notes
    if notes:
        lines += [r"\par\smallskip", rf"{{\footnotesize {' '.join(notes).translate(escape)}\par}}"]
    return "\n".join(lines) + "\n"


def _titled(shown: Cells) -> tuple[Cells, dict[int, str]]:
    """Return the table without the words that rows side by side share, and these by the first such row."""
    starts = [0, *sorted(shown.blocks)]
    ends = [*starts[1:], len(shown.rows)]
    alike = [
        place
        for place in range(shown.words)
        if all(len({row[place] for row in shown.rows[a:b]}) == 1 for a, b in zip(starts, ends, strict=True))
    ]
    if not alike or len(alike) == shown.words:
        return shown, {}
    titles = {at: _title(shown.headings, shown.rows[at], alike) for at in starts}
    kept = [place for place in range(len(shown.headings)) if place not in alike]
    best = {(row, kept.index(place)) for row, place in shown.best}
    rows = [[row[place] for place in kept] for row in shown.rows]
    headings = [shown.headings[place] for place in kept]
    return Cells(headings, rows, shown.words - len(alike), best, shown.blocks), titles


def _title(headings: list[str], row: list[str], places: list[int]) -> str:
    """Return cells with their headings: ``small, GPU expert cache 25 % of experts``; none that is empty."""
    said = []
    for heading, value in ((headings[place], row[place]) for place in places if row[place]):
        name, _, unit = heading.removesuffix(")").partition(" (")
        said.append(value if heading in NAMES else f"{name} {value} {unit}".strip())
    return ", ".join(said)


def _stacked(shown: Cells, place: int, escape: dict[int, str]) -> str:
    """Return a heading on lines as wide as the cells below, at least NARROW."""
    width = max(NARROW, *(len(row[place]) for row in shown.rows))
    lines = textwrap.wrap(shown.headings[place], width, break_long_words=False)
    side = "l" if place < shown.words else "r"
    text = r"\\".join(line.translate(escape) for line in lines)
    return rf"\shortstack[{side}]{{{text}}}" if len(lines) > 1 else text
