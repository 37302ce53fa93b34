"""The distribution of the time per output token: a curve for each system, a panel for each cache size.

p50, p95 and p99 are marked. A panel holds as many curves as can be told apart without colour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.analysis.groups import PANEL, SERIES, SIZE, Groups, group, shown, table
from simulator.analysis.labels import folded
from simulator.analysis.latency import MARKED, PERCENTILES, gaps_ms
from simulator.errors import InputError
from simulator.plots.lines import size_title
from simulator.plots.notes import note
from simulator.plots.style import (
    COLOURS,
    COLUMN,
    LINE,
    MARKERS,
    PAGE,
    fitted,
    legend,
    nothing,
    panels,
    spread,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NEEDS = ("system", "run")
LABEL = "time per output token (ms)"
MOST_CURVES, MOST_SIZES = 6, 6
LOG_FROM = 20  # fold, from which an axis is logarithmic
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (8, 2, 2, 2)), (0, (3, 3)))
TITLE_WIDTH = 34


def plot(summary: pd.DataFrame, tokens: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and its data: a row per panel, system, cache size and percentile, of all systems.

    Percentiles are interpolated linearly, as those of the summary are. Errors: InputError where
    no run decodes.
    """
    groups = group(summary)
    gaps = gaps_ms(tokens)
    cells = _percentiles(groups, gaps)
    if not cells:
        raise InputError("tokens.parquet", "holds no decoded tokens", "replay a trace that decodes")
    series = _told_apart(groups, cells)
    most = min(MOST_SIZES, len(groups.sizes))
    _, figure = fitted(lambda n: _draw(groups, cells, series, spread(groups.sizes, n)), most)
    return figure, _table(groups, cells)


Cells = dict[tuple[str, str, float], "tuple[int, Any]"]
"""The number of tokens and the PERCENTILES in ms of each (panel, series, size) that decoded any."""


def _percentiles(groups: Groups, gaps: dict[int, Any]) -> Cells:
    cells: Cells = {}
    for (panel, series, size), part in groups.runs.groupby([PANEL, SERIES, SIZE], sort=False):
        own = [gaps[int(run)] for run in part["run"] if int(run) in gaps]
        if own:
            joined = np.concatenate(own)
            cells[str(panel), str(series), float(str(size))] = len(joined), np.percentile(joined, PERCENTILES)
    return cells


def _told_apart(groups: Groups, cells: Cells) -> list[str]:
    """Return the series to draw: all, or some from the fastest to the slowest by their medians."""
    medians: dict[str, list[float]] = {}
    for (_, series, _), (_, found) in cells.items():
        medians.setdefault(series, []).append(found[PERCENTILES.index(50)])
    ranked = sorted(medians, key=lambda name: (float(np.mean(medians[name])), name))
    chosen = set(spread(ranked, MOST_CURVES))
    return [name for name in groups.series if name in chosen]


def _draw(groups: Groups, cells: Cells, series: list[str], sizes: list[float]) -> Figure:
    shown_cells = [(panel, size) for panel in groups.panels for size in sizes]
    n = len(shown_cells)
    columns = len(sizes) if len(groups.panels) > 1 and len(sizes) in {2, 3} else min(n, 3 if n != 4 else 2)
    titles = [_title(groups, panel, size) for panel, size in shown_cells]
    lines = max(title.count("\n") + bool(title) for title in titles)
    figure, all_axes = panels(n, columns, COLUMN if n == 1 else PAGE, 1.65 + LINE * lines)
    handles: dict[str, Any] = {}
    for axes, title, (panel, size) in zip(all_axes, titles, shown_cells, strict=True):
        for index, name in enumerate(series):
            if (panel, name, size) in cells:
                values = cells[panel, name, size][1]
                handles.setdefault(name, axes.plot(values, PERCENTILES, **_look(index))[0])
        if not axes.lines:
            nothing(axes, "decoded tokens")
        axes.set_title(title)
        axes.set_ylim(0, 102)
        axes.set_yticks([0, 25, 50, 75, 100])
        axes.grid(visible=True, axis="both")
        _across(
            axes, [found for (of, name, _), (_, found) in cells.items() if of == panel and name in series]
        )
    for index, axes in enumerate(all_axes):
        axes.set_ylabel("tokens (%)" if index % columns == 0 else "")
        axes.set_xlabel(LABEL if n == 1 else "")
    if n > 1:
        figure.supxlabel(LABEL + ", a scale for each machine" * (len(groups.panels) > 1))
    marks = "marks at " + ", ".join(f"p{mark}" for mark in MARKED)
    less = f"{len(series)} of {len(groups.series)}, fastest to slowest median; "
    ordered = {name: handles[name] for name in series if name in handles}
    legend(figure, ordered, (less if len(series) < len(groups.series) else "") + marks)
    if len(sizes) < len(groups.sizes):
        note(figure, f"Shown: {len(sizes)} of {len(groups.sizes)} cache sizes. The CSV has all.")
    return figure


def _look(index: int) -> dict[str, Any]:
    marks = [PERCENTILES.index(mark) for mark in MARKED]
    return {"color": COLOURS[index], "linestyle": DASHES[index], "marker": MARKERS[index], "markevery": marks}


def _title(groups: Groups, panel: str, size: float) -> str:
    named = [folded(panel, TITLE_WIDTH)] if len(groups.panels) > 1 else []
    return "\n".join(
        [*named, size_title(groups.axis, size)] if groups.axis and len(groups.sizes) > 1 else named
    )


def _across(axes: Axes, found: list[Any]) -> None:
    """Give the panels of one model and machine the same axis, from 0 or logarithmic."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    if not found:
        return
    low, high = min(values[0] for values in found), max(values[-1] for values in found)
    if low > 0 and high / low > LOG_FROM:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.15, high * 1.15)
        decades = np.log10(high / low)
        axes.xaxis.set_major_locator(
            LogLocator(subs=(1, 2, 5) if decades < 1.8 else (1, 3) if decades < 3 else (1,))
        )
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(lambda ms, _: f"{ms:g}")
    else:
        axes.set_xlim(0, 1.04 * high or 1)
        axes.xaxis.set_major_locator(MaxNLocator(5))


def _table(groups: Groups, cells: Cells) -> pd.DataFrame:
    """Return the percentiles as a long table, under the columns that other figures name runs by."""
    import pandas as pd

    who = shown(groups, [])
    rows = []
    for (panel, series, size), (n, found) in cells.items():
        key = {PANEL: panel, SERIES: series, SIZE: size, "decoded_tokens": n}
        rows += [
            {**key, "percentile": at, "latency_ms": ms} for at, ms in zip(PERCENTILES, found, strict=True)
        ]
    return table(who.merge(pd.DataFrame(rows), on=[PANEL, SERIES, SIZE], sort=False), groups.axis)
