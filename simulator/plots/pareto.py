"""Speed against what it costs in fidelity: a point a run, and at each cache size the front that none beats.

What is lost is gate mass that was not computed at main precision: served at a lower one, by another expert,
or left out. Deferred mass is computed in full, a layer later, and does not count; the CSV has it beside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.analysis.groups import MODIFIED, PANEL, SERIES, SIZE, Groups, group, table
from simulator.analysis.labels import folded
from simulator.analysis.summary import CACHES, LOSSES, knows_future
from simulator.plots.bars import TITLE_WIDTH
from simulator.plots.on_a_page import on_a_page
from simulator.plots.style import COLUMN, PAGE, legend, line, nothing, panels, unit

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SPEED, LOST = "tokens_per_second", "gate_mass_lost_percent"
NEEDS = ("run", "system", SPEED, *LOSSES, "gate_mass_deferred")
LABEL = "gate mass lost (%)"
MEANING = "Lost: computed at a lower precision, by another expert, or not at all. Deferred mass is not lost."
BOUND, FRONT, NAME = "knows_future", "front", "_name"
MOST_NAMES = 8  # of settings; where there are more, each system has a look for all of its own
SMALLEST, LARGEST = 3.0, 6.0  # points of a marker at 8 pt


def plot(summary: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the data that it shows: a row per run, and whether it is on the front.

    A front is of the runs of a panel at one cache size; runs that know the future are on none.
    """
    groups = group(summary)
    runs = groups.runs
    shares = {f"{name}_percent": 100 * runs[name] for name in (*LOSSES, "gate_mass_deferred")}
    runs = runs.assign(**{LOST: 100 * runs[list(LOSSES)].sum(axis=1, skipna=False)}, **shares)
    runs[BOUND], runs["on_front"] = knows_future(runs), False
    for rows in runs[~runs[BOUND]].groupby([PANEL, SIZE], sort=False).groups.values():
        runs.loc[rows, "on_front"] = front(runs.loc[rows, SPEED].to_numpy(), runs.loc[rows, LOST].to_numpy())
    systems = runs["system"].str.removesuffix(MODIFIED)
    runs[NAME] = runs[SERIES] if len(groups.series) <= MOST_NAMES else systems
    runs[NAME] += runs[BOUND].map({True: " (knows future)", False: ""})
    kept = ["run", *groups.keys, "seed", SPEED, LOST, *shares, BOUND, "on_front"]
    data = runs[[NAME, PANEL, SERIES, SIZE, *dict.fromkeys(name for name in kept if name in runs)]]
    figure = on_a_page(groups, data, data[SPEED], _draw, _words(groups, data))
    return figure, table(
        data.drop(columns=NAME).astype(
            {"run": int} | {name: "Int64" for name in (*CACHES, "seed") if name in data}
        ),
        groups.axis,
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
    names = list(dict.fromkeys(data[NAME]))
    width = COLUMN if n == 1 and len(names) <= MOST_NAMES else PAGE
    figure, all_axes = panels(n, min(n, 2), width, 2.1)
    handles: dict[str, Any] = {}
    for axes, (panel, part) in zip(all_axes, data.groupby(PANEL, sort=False), strict=True):
        if not part[[SPEED, LOST]].notna().all(axis=1).any():
            nothing(axes, "both speed and gate mass")
        else:
            _fronts(axes, groups, part, handles)
            _points(axes, groups, part, names, handles)
        axes.set_xlabel("decoded tokens/s")
        axes.set_ylabel(LABEL)
        axes.set_title(folded(str(panel), TITLE_WIDTH) if n > 1 else "")
    if handles:
        legend(figure, {name: handles[name] for name in (*names, FRONT) if name in handles})
    return figure


def _words(groups: Groups, data: pd.DataFrame) -> str:
    """Return the small print: what is lost, and what markers and fronts are."""
    text = [MEANING]
    at = "at each cache size " if groups.axis else ""
    if groups.axis:
        sizes = (
            f"{groups.size_text(groups.sizes[0])} to {groups.size_text(groups.sizes[-1])} {groups.axis.unit}"
        )
        text.append(
            f"Markers grow with the {groups.axis.tier} expert cache: {sizes}; each size has its front."
        )
    if not any(len(best) > 1 for _, best in data[data["on_front"]].groupby([PANEL, SIZE])):
        text.append(f"No front: {at}one run is best in both.")
    if data[BOUND].any():
        text.append("Hollow: knows the future, so on no front.")
    if data[NAME].nunique() < data[SERIES].nunique():
        text.append("Settings of a system look alike; the CSV tells them apart.")
    return " ".join(text)


def _fronts(axes: Axes, groups: Groups, part: pd.DataFrame, handles: dict[str, Any]) -> None:
    """Draw the front of each size that has one of several runs, the larger the darker."""
    for size, best in part[part["on_front"]].groupby(SIZE):
        points = best.sort_values([SPEED, LOST])
        if len(points[[SPEED, LOST]].drop_duplicates()) > 1:
            grey = f"{0.6 * (1 - _rank(groups, float(str(size)))):.3f}"
            look: dict[str, Any] = {"color": grey, "zorder": 1.5, "drawstyle": "steps-pre"}
            handles[FRONT] = axes.plot(points[SPEED], points[LOST], **look)[0]


def _points(
    axes: Axes, groups: Groups, part: pd.DataFrame, names: list[str], handles: dict[str, Any]
) -> None:
    from matplotlib.lines import Line2D

    for index, name in enumerate(names):
        own = part[part[NAME] == name].dropna(subset=[SPEED, LOST])
        look = line(index) | {"linestyle": "none", "clip_on": False}
        if own[BOUND].any():
            look |= {"markerfacecolor": "white", "color": "0.4"}
        for size, x, y in zip(own[SIZE], own[SPEED], own[LOST], strict=True):
            axes.plot(x, y, **look | {"markersize": _points_of(groups, size)})
        if len(own):
            handles.setdefault(name, Line2D([], [], **look))
    axes.set_xlim(0, 1.06 * part[SPEED].max() or 1)
    top = max(1.0, 1.1 * part[LOST].max())
    axes.set_ylim(-0.05 * top, top)
    axes.grid(visible=True)


def _rank(groups: Groups, size: float) -> float:
    """Return 0 for the smallest cache, 1 for the largest and where there is one."""
    return groups.sizes.index(size) / (len(groups.sizes) - 1) if len(groups.sizes) > 1 else 1.0


def _points_of(groups: Groups, size: float) -> float:
    """Return the size of a marker, from the smallest cache to the largest."""
    rank = _rank(groups, size) if len(groups.sizes) > 1 else 0.4
    return unit() * (SMALLEST + (LARGEST - SMALLEST) * rank)
