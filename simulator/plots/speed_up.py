"""Speed-up over a baseline on the same sequences, with the 95 % interval of each.

Lines over the cache size; at a single size a row a system. The interval says how far the speed-up depends on
which sequences were replayed, and nothing of how far the model of time is right.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.analysis.baseline import SPEED_UP, baseline_name, speed_ups
from simulator.analysis.groups import PANEL, SERIES, SIZE, Groups, group, shown, table
from simulator.analysis.labels import folded
from simulator.numerals import three_digits
from simulator.plots.bars import TITLE_WIDTH, beside, lying
from simulator.plots.lines import size_scale
from simulator.plots.on_a_page import on_a_page
from simulator.plots.style import COLOURS, COLUMN, PAGE, legend, line, nothing, panels, unit

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NEEDS = ("system", "run")
LOW, HIGH = f"{SPEED_UP}_low", f"{SPEED_UP}_high"
LABEL = "speed-up"
APART = 0.012  # of the axis: between the whiskers of two systems at one size,
SPREAD = 0.4  # and all of them at most so much of the gap to the next size


def plot(
    summary: pd.DataFrame, tokens: pd.DataFrame, baseline: str | None = None
) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the data that it shows: a row per panel, system and cache size.

    Errors: InputError where the baseline is unknown, or no run can be compared with it.
    """
    groups = group(summary)
    name = baseline_name(groups, baseline)
    found = speed_ups(groups, tokens, name).drop(columns=f"{SPEED_UP}_why")
    named = shown(groups, []).assign(baseline=name)
    data = named.merge(found, on=[PANEL, SERIES, SIZE], how="left", sort=False)
    draw = partial(_lines if groups.axis else _rows, name=name)
    figure = on_a_page(groups, data, data[SPEED_UP], draw)
    return figure, table(data, groups.axis)


def _one(axes: Axes, *, lying: bool) -> Any:
    """Draw the line at which a run is as fast as the baseline."""
    at = axes.axvline if lying else axes.axhline
    return at(1, color="black", linewidth=0.9 * unit(), linestyle=(0, (4, 1.5)), zorder=0.9)


def _rows(groups: Groups, data: pd.DataFrame, name: str) -> Figure:
    figure, all_axes, rows = lying(groups, LABEL)
    handles: dict[str, Any] = {}
    for axes, (_, part) in zip(all_axes, data.groupby(PANEL, sort=False), strict=True):
        at = rows.at(part[SERIES])
        values, ends = part[SPEED_UP].to_numpy(float), _ends(part)
        own = np.isfinite(values)
        axes.errorbar(values[own], at[own], xerr=ends[:, own], fmt="o", color=COLOURS[0], ecolor="black")
        handles[f"{name} (1)"] = _one(axes, lying=True)
        low, high = np.nanmin([1.0, *values, *part[LOW]]), np.nanmax([1.0, *values, *part[HIGH]])
        margin = 0.06 * (high - low or 1.0)
        axes.set_xlim(max(0, low - margin), high + margin)
        for y, value in zip(at, values, strict=True):
            beside(axes, high + margin, y, three_digits(value))
    legend(figure, handles)
    return figure


def _ends(part: pd.DataFrame) -> Any:
    """Return how far the interval reaches below and above [2, n]; 0 where there is none."""
    value = part[SPEED_UP].to_numpy(float)
    low, high = part[LOW].to_numpy(float), part[HIGH].to_numpy(float)
    return np.clip(np.nan_to_num([value - low, high - value]), 0, None)


def _lines(groups: Groups, data: pd.DataFrame, name: str) -> Figure:
    n = len(groups.panels)
    width = COLUMN if n == 1 and len(groups.series) <= 8 else PAGE
    figure, all_axes = panels(n, min(n, 2), width, 2.0)
    handles: dict[str, Any] = {}
    for axes, (panel, part) in zip(all_axes, data.groupby(PANEL, sort=False), strict=True):
        drawn = part[~part[SERIES].eq(name) & part[SPEED_UP].notna()]
        own = [(index, series) for index, series in enumerate(groups.series) if series in set(drawn[SERIES])]
        sizes = sorted(set(part[SIZE]))
        size_scale(axes, groups.axis, sizes)
        for place, (index, series) in enumerate(own):
            rows = drawn[drawn[SERIES] == series]
            at = _aside(axes, rows[SIZE].to_numpy(float), sizes, place - (len(own) - 1) / 2, len(own))
            handles.setdefault(series, axes.plot(at, rows[SPEED_UP], **line(index))[0])
            axes.errorbar(at, rows[SPEED_UP], _ends(rows), fmt="none", ecolor=line(index)["color"])
        handles.setdefault(f"{name} (1)", _one(axes, lying=False))
        axes.set_ylabel(LABEL)
        axes.grid(visible=True, axis="y")
        if n > 1:
            axes.set_title(folded(str(panel), TITLE_WIDTH))
        if drawn.empty:
            nothing(axes, "a baseline")
    names = [series for series in groups.series if series in handles]
    names += [series for series in handles if series not in names]
    legend(figure, {series: handles[series] for series in names})
    return figure


def _aside(axes: Axes, at: Any, sizes: list[float], place: float, of: int) -> Any:
    """Move points by ``place`` steps along the axis, so that whiskers ``of`` systems stand side by side."""
    forth, back = (np.log, np.exp) if axes.get_xscale() == "log" else (np.asarray, np.asarray)
    gaps = np.diff(forth(sizes))
    step = min(APART * gaps.sum(), SPREAD * gaps.min() / of) if len(gaps) else 0.0
    return back(forth(at) + place * step)
