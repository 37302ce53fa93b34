"""One metric of each series: a line over the cache size, or lying bars at a single size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.analysis.groups import SERIES, SIZE, Groups
from simulator.numerals import three_digits
from simulator.plots.bars import Rows, beside, whiskers
from simulator.plots.lines import size_scale
from simulator.plots.style import box, line

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


def draw_lines(axes: Axes, groups: Groups, part: pd.DataFrame, metric: str, handles: dict[str, Any]) -> None:
    """Draw a panel's ``metric``, a line for each series that has it; add them to a legend's ``handles``."""
    spread = f"{metric}_min" in part
    for index, name in enumerate(groups.series):
        own = part[part[SERIES] == name]
        if own[metric].notna().any():
            drawn = axes.plot(own[SIZE], own[metric], **line(index))[0]
            handles.setdefault(name, drawn)
            if spread:
                ranges = whiskers(own, metric)
                axes.errorbar(own[SIZE], own[metric], ranges, fmt="none", ecolor=drawn.get_color())
    size_scale(axes, groups.axis, sorted(set(part[SIZE])))
    axes.grid(visible=True, axis="y")
    highest = np.nanmax([0.0, *part[f"{metric}_max" if spread else metric]])
    axes.set_ylim(0, 1.06 * highest or 1)


def draw_bars(axes: Axes, rows: Rows, part: pd.DataFrame, metric: str) -> None:
    """Draw a panel's ``metric`` as lying bars with their values, ``n/a`` where there is none."""
    at, values = rows.at(part[SERIES]), part[metric].to_numpy(float)
    axes.barh(at, np.nan_to_num(values), 0.66, xerr=whiskers(part, metric), **box(0))
    high = np.nan_to_num(part.get(f"{metric}_max", part[metric]).to_numpy(float))
    for y, x, value in zip(at, high, values, strict=True):
        beside(axes, x, y, three_digits(value))
    axes.set_xlim(0, 1.3 * max(high, default=0) or 1)
    axes.locator_params(axis="x", nbins=4)


def in_order(groups: Groups, handles: dict[str, Any]) -> dict[str, Any]:
    """Return a legend's handles in the order of the series."""
    return {name: handles[name] for name in groups.series if name in handles}
