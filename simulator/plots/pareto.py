"""Speed against what it costs in fidelity: a point a run, and the front that no other run beats.

What is lost is gate mass that was not computed at main precision: served at a lower one, by another expert,
or left out. Deferred mass is computed in full, a layer later, and does not count; the CSV has it beside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.analysis.groups import PANEL, SERIES, SIZE, Groups, group, table
from simulator.analysis.labels import folded
from simulator.analysis.summary import CACHES
from simulator.plots.bars import TITLE_WIDTH
from simulator.plots.notes import note
from simulator.plots.style import COLUMN, PAGE, legend, line, nothing, panels, unit

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SPEED, LOST = "tokens_per_second", "gate_mass_lost_percent"
LOSSES = ("gate_mass_low", "gate_mass_substituted", "gate_mass_skipped")
NEEDS = ("run", "system", SPEED, *LOSSES, "gate_mass_deferred")
LABEL = "gate mass lost (%)"
MEANING = "Lost: computed at a lower precision, by another expert, or not at all. Deferred mass is not lost."
SMALLEST, LARGEST = 3.0, 6.0  # points of a marker at 8 pt


def plot(summary: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the data that it shows: a row per run, and whether it is on its panel's front."""
    groups = group(summary)
    runs = groups.runs
    shares = {f"{name}_percent": 100 * runs[name] for name in (*LOSSES, "gate_mass_deferred")}
    runs = runs.assign(**{LOST: 100 * runs[list(LOSSES)].sum(axis=1, skipna=False)}, **shares)
    by = runs.groupby(PANEL, sort=False)
    runs["on_front"] = False
    for rows in by.groups.values():
        runs.loc[rows, "on_front"] = front(runs.loc[rows, SPEED].to_numpy(), runs.loc[rows, LOST].to_numpy())
    kept = ["run", *groups.keys, "seed", SPEED, LOST, *shares, "on_front"]
    data = runs[[PANEL, SERIES, SIZE, *dict.fromkeys(name for name in kept if name in runs)]]
    return _draw(groups, data), table(
        data.astype({"run": int} | {name: "Int64" for name in (*CACHES, "seed") if name in data}), groups.axis
    )


def front(speed: Any, lost: Any) -> Any:
    """Return which runs [n] are on the front: none is as good in both, and better in one.

    Runs that are alike in both stay together; NaN is never on the front.
    """
    known = ~(np.isnan(speed) | np.isnan(lost))
    found = np.zeros(len(speed), bool)
    least, at = np.inf, np.nan
    for i in np.lexsort((lost, -speed)):
        if known[i] and (lost[i] < least or (lost[i] == least and speed[i] == at)):
            found[i], least, at = True, lost[i], speed[i]
    return found


def _draw(groups: Groups, data: pd.DataFrame) -> Figure:
    n = len(groups.panels)
    width = COLUMN if n == 1 and len(groups.series) <= 8 else PAGE
    figure, all_axes = panels(n, min(n, 2), width, 2.1)
    handles: dict[str, Any] = {}
    for axes, (panel, part) in zip(all_axes, data.groupby(PANEL, sort=False), strict=True):
        _points(axes, groups, part, handles)
        axes.set_xlabel("decoded tokens/s")
        axes.set_ylabel(LABEL)
        axes.set_title(folded(str(panel), TITLE_WIDTH) if n > 1 else "")
    if handles:
        named = {name: handles[name] for name in (*groups.series, "front") if name in handles}
        legend(figure, named)
    text = MEANING
    if groups.axis:
        sizes = f"{groups.sizes[0]:g} to {groups.sizes[-1]:g} {groups.axis.unit}"
        text += f" Markers grow with the {groups.axis.tier} expert cache: {sizes}."
    note(figure, text)
    return figure


def _points(axes: Axes, groups: Groups, part: pd.DataFrame, handles: dict[str, Any]) -> None:
    from matplotlib.lines import Line2D

    best = part[part["on_front"]].sort_values([SPEED, LOST])
    if best.empty:
        nothing(axes, "both speed and gate mass")
        return
    steps: dict[str, Any] = {"color": "black", "zorder": 1.5, "drawstyle": "steps-pre"}
    handles["front"] = axes.plot([0, *best[SPEED]], [best[LOST].iloc[0], *best[LOST]], **steps)[0]
    for index, name in enumerate(groups.series):
        own = part[part[SERIES] == name].dropna(subset=[SPEED, LOST])
        look = line(index) | {"linestyle": "none", "clip_on": False}
        for size, x, y in zip(own[SIZE], own[SPEED], own[LOST], strict=True):
            axes.plot(x, y, **look | {"markersize": _points_of(groups, size)})
        if len(own):
            handles.setdefault(name, Line2D([], [], **look))
    axes.set_xlim(0, 1.06 * part[SPEED].max() or 1)
    top = max(1.0, 1.1 * part[LOST].max())
    axes.set_ylim(-0.05 * top, top)
    axes.grid(visible=True)


def _points_of(groups: Groups, size: float) -> float:
    """Return the size of a marker, from the smallest cache to the largest."""
    rank = groups.sizes.index(size) / max(1, len(groups.sizes) - 1) if len(groups.sizes) > 1 else 0.4
    return unit() * (SMALLEST + (LARGEST - SMALLEST) * rank)
