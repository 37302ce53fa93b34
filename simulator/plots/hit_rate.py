"""Hit rate against the cache size with Belady's bound; at a single size, hits, late and misses as bars."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.analysis.groups import PANEL, SERIES, SIZE, Groups, group, shown, table
from simulator.analysis.labels import folded
from simulator.analysis.summary import CACHES
from simulator.plots.bars import TITLE_WIDTH, beside, lying, whiskers
from simulator.plots.bounds import bound_name, draw_bounds
from simulator.plots.lines import size_scale
from simulator.plots.notes import on_seeds
from simulator.plots.on_a_page import on_a_page
from simulator.plots.over_sizes import in_order
from simulator.plots.style import BOX, COLUMN, PAGE, legend, line, nothing, panels, unit, widen

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METRIC, BOUND = "hit_rate", "belady_hit_rate"
CYCLE = "token_cycle_bytes"
CYCLE_COLUMN = "token_cycle_on_the_axis"
CYCLE_NAME = "one token's experts"
CYCLE_WITHIN = 1.25  # of the largest size: a line farther out would squeeze the curves
MOST_NAMES = 8  # of a legend in a column: a longer one would be as high as its plot
NEEDS = ("system", METRIC)
LOOKS = {
    METRIC: ("hits", "#0072B2", ""),
    "late_rate": ("late", "#E69F00", "////"),
    "miss_rate": ("misses", "#FFFFFF", "...."),
}


def plot(summary: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the data that it shows: a row per panel, system and cache size."""
    groups = group(summary)
    bound = [BOUND] if BOUND in groups.runs and groups.runs[BOUND].notna().any() else []
    if groups.axis is None:
        data = shown(_with_shares(groups), [METRIC, "late_rate", "miss_rate", *bound])
        draw = partial(_bars, bound=bound_name(data, BOUND, _name(summary)) if bound else "")
        return on_a_page(groups, data, data[METRIC], draw), table(data, None)
    cycle = [CYCLE_COLUMN] if _with_cycle(groups) else []
    data = shown(groups, [METRIC, *bound, *cycle])
    draw = partial(_curves, bound=_name(summary))
    return on_a_page(groups, data, data[METRIC], draw, on_seeds(data)), table(data, groups.axis)


def _name(summary: pd.DataFrame) -> str:
    kinds = set(summary.get("belady_kind", []))
    return "Belady's bound (heuristic)" if "heuristic" in kinds else "Belady's bound"


def _with_shares(groups: Groups) -> Groups:
    """Add the shares of late lookups and misses, where the summary has none."""
    runs = groups.runs
    if "late_rate" not in runs:
        runs["late_rate"] = runs["late"] / runs["lookups"] if {"late", "lookups"} <= {*runs} else 0.0
    runs["miss_rate"] = 1.0 - runs[METRIC] - runs["late_rate"].fillna(0.0)
    if {"misses", "lookups"} <= {*runs}:
        runs["miss_rate"] = runs["misses"] / runs["lookups"]
    return groups


def _with_cycle(groups: Groups) -> bool:
    """Add where on the axis the experts lie that one token asks for, over all layers; return if it is known.

    A cache below that finds nothing under LRU over all layers, if each token asks for others. It concerns the
    cache that the main unit computes from.
    """
    runs, axis = groups.runs, groups.axis
    if axis is None or CYCLE not in runs or runs[CYCLE].dtype.kind != "f":
        return False
    size = f"{axis.tier.lower()}_expert_cache_bytes"
    top = axis.tier == "GPU" or not runs[CACHES[0]].notna().any()
    known = runs[CYCLE].notna() & (runs[size] > 0)
    runs[CYCLE_COLUMN] = (runs[SIZE] * runs[CYCLE] / runs[size]).where(known)
    return top and bool(known.any())


def _draw_cycle(axes: Axes, part: pd.DataFrame, handles: dict[str, Any]) -> None:
    """Draw the token-cycle line of a panel, lines where systems differ in it, if it is near the sizes."""
    for at in sorted({float(f"{value:.4g}") for value in part[CYCLE_COLUMN].dropna()}):
        if at <= CYCLE_WITHIN * part[SIZE].max():
            drawn = axes.axvline(at, color="0.6", linewidth=1.2 * unit(), zorder=0.8)
            handles.setdefault(CYCLE_NAME, drawn)


def _bars(groups: Groups, data: pd.DataFrame, bound: str) -> Figure:
    figure, all_axes, rows = lying(groups, "share of lookups (%)")
    handles: dict[str, Any] = {}
    for axes, (_, part) in zip(all_axes, data.groupby(PANEL, sort=False), strict=True):
        at = rows.at(part[SERIES])
        left = np.zeros(len(part))
        for metric, (name, colour, hatch) in LOOKS.items():
            share = 100 * np.nan_to_num(part[metric].to_numpy(float))
            if share.any() or metric == METRIC:
                handles[name] = axes.barh(at, share, 0.66, left=left, facecolor=colour, hatch=hatch, **BOX)
            left += share
        if BOUND in part:
            best = 100 * part[BOUND].to_numpy(float)
            for y, x in zip(at, best, strict=True):
                for colour, width in (("white", 3.6), ("black", 1.6)):  # a rim, so that it shows on any hatch
                    drawn = axes.plot([x, x], [y - 0.44, y + 0.44], color=colour, linewidth=width * unit())
                    handles[bound] = drawn[0]
        for y, value in zip(at, part[METRIC], strict=True):
            text = "n/a" if np.isnan(value) else f"{100 * value:.1f}"
            beside(axes, 100, y, text)
        axes.set_xlim(0, 100)
    legend(figure, handles)
    return figure


def _curves(groups: Groups, data: pd.DataFrame, bound: str) -> Figure:
    n = len(groups.panels)
    figure, all_axes = panels(n, min(n, 2), COLUMN if n == 1 else PAGE, 2.0)
    handles: dict[str, Any] = {}
    for axes, (panel, part) in zip(all_axes, data.groupby(PANEL, sort=False), strict=True):
        if BOUND in part:
            draw_bounds(axes, part, data, BOUND, bound, handles)
        for index, name in enumerate(groups.series):
            own = part[part[SERIES] == name]
            if own[METRIC].notna().any():
                _line(axes, own, index, name, handles)
        if CYCLE_COLUMN in part:
            _draw_cycle(axes, part, handles)
        size_scale(axes, groups.axis, sorted(set(part[SIZE])))
        axes.set_ylabel("hit rate (%)")
        axes.grid(visible=True, axis="y")
        low, high = axes.get_ylim()
        axes.set_ylim(max(0, low) if low > 10 else 0, min(100, high) if high < 95 else 100.5)
        if n > 1:
            axes.set_title(folded(str(panel), TITLE_WIDTH))
        if not part[METRIC].notna().any():
            nothing(axes, "a hit rate")
    if len(handles) > MOST_NAMES:
        widen(figure)
    if len(handles) > 1:
        legend(figure, in_order(groups, handles) | handles)
    return figure


def _line(axes: Axes, own: pd.DataFrame, index: int, name: str, handles: dict[str, Any]) -> None:
    drawn = axes.plot(own[SIZE], 100 * own[METRIC], **line(index))[0]
    handles.setdefault(name, drawn)
    spread = whiskers(own, METRIC)
    if spread is not None:
        axes.errorbar(own[SIZE], 100 * own[METRIC], 100 * spread, fmt="none", ecolor=drawn.get_color())
