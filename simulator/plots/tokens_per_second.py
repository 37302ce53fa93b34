"""Decoded tokens per second, by system and cache size.

Up to eight systems stand side by side at each size; more stand on the axis themselves, with a shade for
each size; where bars would be too thin to tell apart, lines over the size take their place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.analysis.groups import PANEL, SERIES, SIZE, Groups, group, shown, table
from simulator.analysis.labels import folded
from simulator.numerals import three_digits
from simulator.plots.bars import absent, beside, lying, whiskers
from simulator.plots.notes import on_seeds
from simulator.plots.on_a_page import on_a_page
from simulator.plots.over_sizes import draw_lines
from simulator.plots.scales import one_scale
from simulator.plots.style import COLOURS, COLUMN, PAGE, box, legend, nothing, panels, shade

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METRIC = "tokens_per_second"
NEEDS = ("system", METRIC)
LABEL = "decoded tokens/s"
MOST_SIZES = 10
SLANT = 0.8  # inches that names aslant take
HIGH, LOW, MOST_ROWS = 1.9, 1.5, 3  # inches of a panel, up to so many below each other, and of more


def plot(summary: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the data that it shows: a row per panel, system and cache size."""
    groups = group(summary)
    data = shown(groups, [METRIC])
    draw = _by_size if groups.axis else _one_size
    figure = on_a_page(groups, data, data[METRIC], draw, on_seeds(data))
    return figure, table(data, groups.axis)


def _one_size(groups: Groups, data: pd.DataFrame) -> Figure:
    figure, all_axes, rows = lying(groups, LABEL)
    for axes, (_, part) in zip(all_axes, data.groupby(PANEL, sort=False), strict=True):
        at = rows.at(part[SERIES])
        values = part[METRIC].to_numpy(float)
        axes.barh(at, np.nan_to_num(values), 0.66, xerr=whiskers(part, METRIC), **box(0))
        high = part.get(f"{METRIC}_max", part[METRIC]).to_numpy(float)
        for y, x, value in zip(at, high, values, strict=True):
            beside(axes, float(np.nan_to_num(x)), y, three_digits(value))
        axes.set_xlim(0, max(1e-9, np.nanmax([0, *high])) * 1.2)
    one_scale(all_axes, "x", LABEL)
    return figure


def _by_size(groups: Groups, data: pd.DataFrame) -> Figure:
    n_series, n_sizes, n_panels = len(groups.series), len(groups.sizes), len(groups.panels)
    bars = n_series * n_sizes
    abreast = n_series <= len(COLOURS) and bars <= 48
    lines = not abreast and n_sizes > MOST_SIZES
    narrow = n_panels == 1 and bars <= 16
    columns = 1 if n_panels == 1 or (bars > 24 and not lines) else 2
    rotated = not (abreast or lines)
    slant = SLANT if rotated else 0.0
    figure, all_axes = panels(
        n_panels,
        columns,
        COLUMN if narrow else PAGE,
        (LOW if -(-n_panels // columns) > MOST_ROWS else HIGH) + slant / n_panels,
        sharex=True if rotated else "none",
    )
    handles: dict[str, Any] = {}
    for axes, (panel, part) in zip(all_axes, data.groupby(PANEL, sort=False), strict=True):
        if lines:
            draw_lines(axes, groups, part, METRIC, handles)
        else:
            (_abreast if abreast else _shades)(axes, groups, part, handles)
        if len(groups.panels) > 1:
            axes.set_title(folded(str(panel), 60))
        axes.set_ylim(bottom=0)
        axes.grid(visible=True, axis="y")
        if not part[METRIC].notna().any():
            nothing(axes, LABEL)
    one_scale(all_axes, "y", LABEL)
    title = groups.axis.label if groups.axis and rotated else ""
    if len(handles) > 1:
        legend(figure, handles, title)
    return figure


def _abreast(axes: Axes, groups: Groups, part: pd.DataFrame, handles: dict[str, Any]) -> None:
    sizes = sorted(set(part[SIZE]))
    width = 0.84 / len(groups.series)
    for index, name in enumerate(groups.series):
        own = part[part[SERIES] == name]
        at = own[SIZE].map(sizes.index).to_numpy(float) + (index - (len(groups.series) - 1) / 2) * width
        _stand(axes, own, at, width, handles, name, box(index))
    axes.set_xticks(range(len(sizes)), [groups.size_text(size) for size in sizes])
    axes.tick_params(axis="x", length=0)
    axes.set_xlabel(groups.axis.label if groups.axis else "")


def _shades(axes: Axes, groups: Groups, part: pd.DataFrame, handles: dict[str, Any]) -> None:
    width = 0.84 / len(groups.sizes)
    for index, size in enumerate(groups.sizes):
        own = part[part[SIZE] == size]
        at = own[SERIES].map(groups.series.index).to_numpy(float)
        at = at + (index - (len(groups.sizes) - 1) / 2) * width
        _stand(axes, own, at, width, handles, groups.size_text(size), shade(index, len(groups.sizes)))
    names = [folded(name, 24) for name in groups.series]
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.6, len(names) - 0.4)


def _stand(
    axes: Axes, own: pd.DataFrame, at: Any, width: float, handles: dict[str, Any], name: str, look: Any
) -> None:
    drawn = axes.bar(
        at, np.nan_to_num(own[METRIC].to_numpy(float)), width, yerr=whiskers(own, METRIC), **look
    )
    absent(axes, at, own[METRIC])
    handles.setdefault(name, drawn)
