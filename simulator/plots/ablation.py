"""What each part adds: from the first variant of a system to its last, in the order of the sweep.

Variants are steps only where each keeps what those before it changed. Systems replace one another, and so
do the values of one key: their differences are not what parts add.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.analysis.groups import MODIFIED, PANEL, SERIES, SIZE, Groups, group, shown, table
from simulator.analysis.summary import swept
from simulator.errors import InputError
from simulator.numerals import three_digits
from simulator.plots.bars import Rows, beside
from simulator.plots.lines import size_title
from simulator.plots.notes import note, titles
from simulator.plots.style import BOX, COLUMN, PAGE, fitted, legend, nothing, panels, unit

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METRIC, STEP = "tokens_per_second", "step_tokens_per_second"
NEEDS = ("system", METRIC)
LABEL = "decoded tokens/s"
MOST_PANELS = 6
ALL = "= total"
RULE = "the first with at least two variants"
HINT = "sweep a list of variants of one system, each keeping what the one before changed"
LOOKS: dict[str, dict[str, Any]] = {
    "total": {"facecolor": "#999999", "hatch": "", **BOX},
    "gain": {"facecolor": "#56B4E9", "hatch": "////", **BOX},
    "loss": {"facecolor": "#D55E00", "hatch": "....", **BOX},
}


def plot(summary: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the data that it shows: a row per panel, cache size and variant, with its step.

    Errors: InputError where there are no two variants at one cache size, or where they are no steps.
    """
    import pandas as pd

    groups = group(summary)
    if len(groups.series) < 2:
        raise InputError("summary.csv", "this folder has one variant only", HINT)
    _need_steps(groups)
    data = shown(groups, [METRIC])
    cells = _cells(groups, data)
    parts = {cell: _steps(part) for cell, part in cells.items() if len(part) > 1}
    if not parts:
        raise InputError(
            "summary.csv", "no two variants have the same cache size", "run all variants at the same sizes"
        )

    def selection(n: int) -> str:
        return "all panels" if n == len(cells) else f"{n} of {len(cells)} panels ({RULE})"

    def first(n: int) -> Figure:
        figure = _draw(groups, dict(list(parts.items())[:n]))
        note(figure, f"Shown: {selection(n)}." if n < len(cells) else "")
        return figure

    n, figure = fitted(first, min(len(parts), MOST_PANELS))
    written = pd.concat(list(parts.values())[:n], ignore_index=True)
    written.insert(0, "selection", selection(n))
    written.insert(1, "variant", written[SERIES])
    return figure, table(written, groups.axis)


def _need_steps(groups: Groups) -> None:
    """Raise InputError unless the variants are one system's, and of several keys each changes once."""
    runs = groups.runs.assign(_of=groups.runs["system"].str.removesuffix(MODIFIED))
    keys = [name for name in swept(runs) if groups.axis is None or name != groups.axis.source]
    for _, own in runs.groupby([PANEL, SIZE], sort=False):
        what = ""
        variants = own.drop_duplicates(SERIES)[keys].fillna("")
        changes = (variants != variants.shift()).iloc[1:].sum()
        if len(set(own["_of"])) > 1:
            what = "systems replace one another: none adds to another"
        elif (changes > 1).any():
            what = f"'{changes.idxmax()}' changes more than once: its values replace one another"
        elif (changes > 0).sum() == 1:
            what = f"only '{changes.idxmax()}' changes: its values replace one another"
        if what:
            raise InputError("summary.csv", what, HINT)


def _cells(groups: Groups, data: pd.DataFrame) -> dict[tuple[str, float], pd.DataFrame]:
    cells = [(panel, size) for panel in groups.panels for size in groups.sizes]
    parts = {cell: data[(data[PANEL] == cell[0]) & (data[SIZE] == cell[1])] for cell in cells}
    return {cell: part for cell, part in parts.items() if len(part)}


def _steps(part: pd.DataFrame) -> pd.DataFrame:
    """Add each variant's step: its difference from the last one before it that has a value."""
    before = part[METRIC].ffill().shift()
    step = part[METRIC] - before
    return part.assign(**{STEP: step, "step_percent": 100 * step / before.where(before > 0)})


def _draw(groups: Groups, parts: dict[tuple[str, float], pd.DataFrame]) -> Figure:
    n = len(parts)
    variants = [name for name in groups.series if any(name in set(part[SERIES]) for part in parts.values())]
    names = [variants[0], *_added(variants), ALL]
    columns = 1 if n == 1 else 2 if n in {2, 4} else 3
    rows = Rows(names, -(-n // columns))
    figure, all_axes = panels(n, columns, COLUMN if n == 1 else PAGE, 0.4 + rows.inches, sharey=True)
    titles(figure, all_axes, columns, [_title(groups, cell) for cell in parts], 0.85)
    handles: dict[str, Any] = {}
    for axes, part in zip(all_axes, parts.values(), strict=True):
        rows.name(axes)
        axes.set_xlabel(LABEL)
        _waterfall(axes, rows, dict(zip(variants, names[:-1], strict=True)), part, handles)
    if handles:
        legend(figure, {name: handles[name] for name in LOOKS if name in handles})
    return figure


def _added(variants: list[str]) -> list[str]:
    """Return what each variant but the first has different from the one before; all of it where two agree."""
    parts = [name.split(", ") for name in variants]
    changed = [", ".join(word for word in own if word not in before) for before, own in pairwise(parts)]
    if len(set(changed)) < len(changed) or not all(changed):
        changed = variants[1:]
    return [f"+ {name}" for name in changed]


def _title(groups: Groups, cell: tuple[str, float]) -> str:
    panel = [cell[0]] if len(groups.panels) > 1 else []
    return "\n".join([*panel, *([size_title(groups.axis, cell[1])] if groups.axis else [])])


def _waterfall(
    axes: Axes, rows: Rows, names: dict[str, str], part: pd.DataFrame, handles: dict[str, Any]
) -> None:
    """Draw a panel: the first variant's total, the steps between, and the last one's total."""
    known = part[METRIC].dropna()
    if known.empty:
        nothing(axes, LABEL)
        return
    bars: list[tuple[float, float, float]] = []
    end = 0.0
    for series, value, step in zip(part[SERIES], part[METRIC], part[STEP], strict=True):
        y = rows.places[names[series]]
        if np.isnan(value):
            beside(axes, end, y, "n/a")
            continue
        kind = "total" if np.isnan(step) else "gain" if step >= 0 else "loss"
        sign = {"total": "", "gain": "+", "loss": "\N{MINUS SIGN}"}[kind]
        end = value
        bars.append((y, 0.0 if kind == "total" else value - step, end))
        _bar(axes, bars[-1], kind, sign + three_digits(abs(value if kind == "total" else step)), handles)
    bars.append((rows.places[ALL], 0.0, end))
    _bar(axes, bars[-1], "total", three_digits(end), handles)
    for (upper, _, reached), (lower, _, _) in pairwise(bars):
        axes.vlines(reached, upper, lower, color="black", linewidth=0.5 * unit(), zorder=0.9)
    axes.set_xlim(0, 1.3 * known.max() or 1)


def _bar(
    axes: Axes, place: tuple[float, float, float], kind: str, text: str, handles: dict[str, Any]
) -> None:
    y, start, end = place
    drawn = axes.barh(y, abs(end - start), 0.66, left=min(start, end), **LOOKS[kind])
    handles.setdefault(kind, drawn)
    beside(axes, max(start, end), y, text)
