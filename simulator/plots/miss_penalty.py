"""Miss penalty against the cache size; at a single size as lying bars.

HOBBIT's metric (arXiv 2411.01433): a miss costs the bytes that it loads, fewer at low precision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.analysis.groups import PANEL, Groups, group, shown, table
from simulator.analysis.labels import folded
from simulator.plots.bars import TITLE_WIDTH, lying
from simulator.plots.notes import on_seeds
from simulator.plots.on_a_page import on_a_page
from simulator.plots.over_sizes import draw_bars, draw_lines, in_order
from simulator.plots.scales import one_scale
from simulator.plots.style import COLUMN, PAGE, legend, nothing, panels

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

METRIC = "miss_penalty"
NEEDS = ("system", METRIC)
LABEL = "miss penalty (experts)"


def plot(summary: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the data that it shows: a row per panel, system and cache size."""
    groups = group(summary)
    data = shown(groups, [METRIC])
    draw = _curves if groups.axis else _bars
    figure = on_a_page(groups, data, data[METRIC], draw, on_seeds(data))
    named = {
        name: name.replace(METRIC, f"{METRIC}_experts_per_lookup")
        for name in map(str, data)
        if METRIC in name
    }
    return figure, table(data, groups.axis).rename(columns=named)


def _bars(groups: Groups, data: pd.DataFrame) -> Figure:
    figure, all_axes, rows = lying(groups, LABEL)
    for axes, (_, part) in zip(all_axes, data.groupby(PANEL, sort=False), strict=True):
        draw_bars(axes, rows, part, METRIC)
    one_scale(all_axes, "x", LABEL)
    return figure


def _curves(groups: Groups, data: pd.DataFrame) -> Figure:
    n = len(groups.panels)
    width = COLUMN if n == 1 and len(groups.series) <= 8 else PAGE
    figure, all_axes = panels(n, min(n, 2), width, 2.0)
    handles: dict[str, Any] = {}
    for axes, (panel, part) in zip(all_axes, data.groupby(PANEL, sort=False), strict=True):
        draw_lines(axes, groups, part, METRIC, handles)
        axes.set_title(folded(str(panel), TITLE_WIDTH) if n > 1 else "")
        if not part[METRIC].notna().any():
            nothing(axes, "a miss penalty")
    one_scale(all_axes, "y", LABEL)
    if len(handles) > 1:
        legend(figure, in_order(groups, handles))
    return figure
