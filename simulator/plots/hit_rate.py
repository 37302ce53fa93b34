"""Figure: hit rate against cache size, with the rate that Belady's algorithm reaches in the same space."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.plots import groups as grouping
from simulator.plots.style import COLUMN_IN, PAGE_IN, fill, legend_below, mark, name_ticks, panels, size_ticks

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NEEDS = ("hit_rate", "late_rate", "belady_hit_rate")
BOUND = "Belady, same space"


def plot(summary: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Return lines over cache size, or bars where the size does not vary, and the data shown."""
    from matplotlib.lines import Line2D

    found = grouping.group(summary)
    data = grouping.shown(found, list(NEEDS))
    many = len(found.series) > 4
    figure, all_axes = panels(found.panels, PAGE_IN if many and found.axis is None else COLUMN_IN)
    handles: list[object] = []
    for axes, panel in zip(all_axes, found.panels, strict=True):
        part = data[data[grouping.PANEL] == panel]
        handles = _lines(axes, part, found) if found.axis is not None else _bars(axes, part, found)
        axes.set_ylabel("hit rate")
        axes.set_ylim(0, 1.04)
        axes.grid(visible=True, axis="y")
    if found.axis is not None:
        handles.append(Line2D([], [], color="0.3", linestyle="--", linewidth=0.9))
        legend_below(figure, handles, [*found.series, BOUND], 2)
    return figure, grouping.table(data, found.axis)


def _lines(axes: Axes, part: pd.DataFrame, found: grouping.Groups) -> list[object]:
    handles: list[object] = []
    assert found.axis is not None
    for i, name in enumerate(found.series):
        rows = part[part[grouping.SERIES] == name]
        handles += axes.plot(rows[grouping.SIZE], rows["hit_rate"], **mark(i))
        colour = mark(i)["color"]
        axes.plot(rows[grouping.SIZE], rows["belady_hit_rate"], color=colour, linestyle="--", linewidth=0.9)
    axes.set_xlabel(found.axis.label)
    size_ticks(axes, found.sizes)
    return handles


def _bars(axes: Axes, part: pd.DataFrame, found: grouping.Groups) -> list[object]:
    for i, name in enumerate(found.series):
        rows = part[part[grouping.SERIES] == name]
        if rows.empty:
            continue
        row = rows.iloc[0]
        bars = axes.bar([i], [row["hit_rate"]], width=0.7, **fill(i))
        axes.bar_label(bars, fmt="%.3f", label_type="center", color="white", fontweight="bold")
        axes.hlines(row["belady_hit_rate"], i - 0.4, i + 0.4, colors="black", linestyles="--")
        bound = row["belady_hit_rate"]
        if bound == bound:  # noqa: PLR0124 (false for NaN, which has nothing to say)
            axes.annotate(f"Belady {bound:.3f}", (i, bound), ha="center", va="bottom")
    axes.set_xlim(-0.7, len(found.series) - 0.3)
    name_ticks(axes, [float(i) for i in range(len(found.series))], found.series)
    return []
