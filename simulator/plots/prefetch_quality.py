"""How good prefetches are: accuracy, coverage, late lookups and waste, a panel each.

Lines over the cache size; at a single size lying bars. Systems that started no prefetch are named below.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from simulator.analysis.groups import PANEL, SERIES, Groups, group, shown, table
from simulator.analysis.labels import folded
from simulator.plots.bars import Rows
from simulator.plots.notes import on_seeds
from simulator.plots.on_a_page import on_a_page
from simulator.plots.over_sizes import draw_bars, draw_lines, in_order
from simulator.plots.style import LINE, PAGE, legend, nothing, panels, unit

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STARTED = "started_prefetches"
UP = ("bytes_ssd_to_cpu", "bytes_cpu_to_gpu", "bytes_ssd_to_gpu")
NEEDS = ("system", STARTED, "prefetch_accuracy", "prefetch_coverage", "late_rate", "wasted_bytes")
# Column of the CSV: what the panel is called, and how it is defined.
MEASURES = {
    "accuracy_percent": ("accuracy", "useful / started"),
    "coverage_percent": ("coverage", "useful / (useful + misses)"),
    "late_percent": ("late lookups", "late / all lookups"),
    "wasted_percent": ("waste", "bytes prefetched in vain / bytes loaded"),
}
MEANING = "; ".join(f"{name}: {definition}" for name, definition in MEASURES.values()).capitalize()
NAME_WIDTH = 110  # letters of a panel's name over its row


def plot(summary: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the data that it shows: a row per panel, system and cache size, in per cent.

    The measures of a run that started no prefetch are empty.
    """
    groups = group(_with_measures(summary))
    data = shown(groups, [STARTED, *MEASURES])
    started = data.groupby(SERIES)[STARTED].sum()
    having = [name for name in groups.series if started[name] > 0]
    without = [name for name in groups.series if name not in having]
    drawn = data[data[SERIES].isin(having)]
    prefetching = replace(groups, series=having, panels=list(dict.fromkeys(drawn[PANEL])))
    if drawn.empty:
        figure, all_axes = panels(1, 1, PAGE / 2, 1.2)
        nothing(all_axes[0], "prefetches")
        all_axes[0].set_axis_off()
    else:
        draw = partial(_lines, named=len(groups.series) > 1) if groups.axis else _bars
        idle = f"No prefetches, so not shown: {', '.join(without)}." if without else ""
        words = " ".join(filter(None, [f"{MEANING}.", on_seeds(data), idle]))
        figure = on_a_page(prefetching, drawn, drawn["accuracy_percent"], draw, words)
    return figure, table(data, groups.axis)


def _with_measures(summary: pd.DataFrame) -> pd.DataFrame:
    """Add MEASURES to the summary; waste is of all bytes carried towards the main unit."""
    carried = summary.reindex(columns=list(UP)).astype(float).sum(axis=1)
    shares = {
        "accuracy_percent": summary["prefetch_accuracy"],
        "coverage_percent": summary["prefetch_coverage"],
        "late_percent": summary["late_rate"],
        "wasted_percent": summary["wasted_bytes"] / carried.where(carried > 0),
    }
    some = summary[STARTED] > 0
    return summary.assign(**{name: (100 * share).where(some) for name, share in shares.items()})


def _rows(groups: Groups, height: float, **share: Any) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure with a row of axes for each panel, under its name; ``height`` is without titles."""
    n = len(groups.panels)
    names = [folded(panel.replace("\n", ", "), NAME_WIDTH) if n > 1 else "" for panel in groups.panels]
    above = max(name.count("\n") + bool(name) for name in names)
    figure, flat = panels(
        len(MEASURES) * n, len(MEASURES), PAGE, height + LINE * (1.4 + 1.2 * above), **share
    )
    rows = [flat[len(MEASURES) * i :][: len(MEASURES)] for i in range(n)]
    for name, row in zip(names, rows, strict=True):
        for axes, (measure, _) in zip(row, MEASURES.values(), strict=True):
            axes.set_title("\n" * above + f"{measure} (%)")  # the lines above are the row's name's
        place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
        row[0].annotate(name, (0, 1), (0, 17 * unit()), **place).set_in_layout(False)
    return figure, rows


def _lines(groups: Groups, data: pd.DataFrame, *, named: bool) -> Figure:
    """Draw lines over the size; a single one is ``named`` where the results have other series too."""
    figure, rows = _rows(groups, 1.75 if len(groups.panels) == 1 else 1.4)
    handles: dict[str, Any] = {}
    for row, (_, part) in zip(rows, data.groupby(PANEL, sort=False), strict=True):
        for axes, metric in zip(row, MEASURES, strict=True):
            draw_lines(axes, groups, part, metric, handles)
            axes.set_xlabel(axes.get_xlabel().replace(" (", "\n(") if row is rows[-1] else "")
            if not part[metric].notna().any():
                nothing(axes, "this")
    if len(handles) > 1 or named:
        legend(figure, in_order(groups, handles))
    return figure


def _bars(groups: Groups, data: pd.DataFrame) -> Figure:
    places = Rows(groups.series, len(groups.panels))
    figure, rows = _rows(groups, 0.25 + places.inches, sharey=True)
    for row, (_, part) in zip(rows, data.groupby(PANEL, sort=False), strict=True):
        for axes, metric in zip(row, MEASURES, strict=True):
            places.name(axes)
            draw_bars(axes, places, part, metric)
    return figure
