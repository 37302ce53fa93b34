"""How much of a lead is the algorithm and how much the code: speed-ups in the same software and in one's own.

The lead that a system keeps in the software that all share is its algorithm's. What its own software, and the
baseline's, make of it is the code's: a factor, so that both add up on a logarithmic axis.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.analysis.baseline import SPEED_UP, baseline_name, pairs
from simulator.analysis.groups import PANEL, SERIES, SIZE, Groups, group, shown, table
from simulator.errors import InputError
from simulator.numerals import three_digits
from simulator.plots.bars import Rows, beside
from simulator.plots.lines import size_title
from simulator.plots.notes import titles
from simulator.plots.on_a_page import on_a_page
from simulator.plots.style import BOX, COLUMN, LINE, PAGE, legend, panels, unit

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SOFTWARE, METRIC = "software", "tokens_per_second"
NEEDS = ("system", "run", METRIC)
SAME, CODE = f"{SPEED_UP}_same_software", f"{SPEED_UP}_of_code"
CELL = [PANEL, SERIES, SIZE]
HINT = "sweep systems in their own software, and in a second grid all in one, such as software: [ideal]"
ALGORITHM_LOOK: dict[str, Any] = {"facecolor": "#0072B2", "hatch": "", **BOX}
CODE_LOOK: dict[str, Any] = {"facecolor": "#E69F00", "hatch": "////", **BOX}


@dataclass(frozen=True, slots=True)
class Software:
    """The software that all share, and that of each series beside it; a series without one has no other."""

    common: str
    own: dict[str, str]

    def of(self, series: str) -> str:
        """Return a series' own software."""
        return self.own.get(series, self.common)


def plot(summary: pd.DataFrame, baseline: str | None = None) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the data that it shows: a row per panel, system and cache size.

    Errors: InputError where a system lacks a run in its own or in the common software, or has several of its
    own; and where the baseline is unknown.
    """
    groups = group(summary.drop(columns=SOFTWARE))
    groups = replace(groups, runs=groups.runs.assign(**{SOFTWARE: summary[SOFTWARE].to_numpy()}))
    software, name = _software(groups.runs), baseline_name(groups, baseline)
    used = groups.runs[SOFTWARE]
    own = replace(groups, runs=groups.runs[used == groups.runs[SERIES].map(software.of)])
    common = replace(groups, runs=groups.runs[used == software.common])
    data = shown(replace(own, keys=(*groups.keys, SOFTWARE)), [METRIC])
    data = data.assign(common_software=software.common, baseline=name)
    for column, side in ((SPEED_UP, own), (SAME, common)):
        data = data.merge(_speed_ups(side, name, column), on=CELL, how="left", sort=False)
    data[CODE] = data[SPEED_UP] / data[SAME]
    named = {series: f"{series}\nin {software.of(series)}" for series in groups.series}
    data[SERIES] = data[SERIES].map(named)
    groups = replace(groups, series=list(named.values()))
    draw = partial(_draw, common=software.common, over=name)
    figure = on_a_page(groups, data, data[SPEED_UP], draw, each_size=True)
    return figure, table(data, groups.axis)


def _software(runs: pd.DataFrame) -> Software:
    """Return the software that most share, ideal before others, and every series' own."""
    cells = runs[[*CELL, SOFTWARE]].drop_duplicates()
    often = cells.groupby(SOFTWARE, sort=False).size()
    common = max(often.index, key=lambda one: (often[one], one == "ideal"))
    own: dict[str, str] = {}
    for series, name in cells.loc[cells[SOFTWARE] != common, [SERIES, SOFTWARE]].itertuples(index=False):
        if own.setdefault(series, name) != name:
            what = f"'{series}' has runs in {own[series]} and {name} beside {common}"
            raise InputError("summary.csv", what, "sweep one software of its own for each system")
    found = Software(common, own)
    there = set(cells.itertuples(index=False, name=None))
    for panel, series, size in cells[CELL].drop_duplicates().itertuples(index=False, name=None):
        for name in (common, found.of(series)):
            if (panel, series, size, name) not in there:
                raise InputError("summary.csv", f"no run of '{series}' in software {name}", HINT)
    if not own:
        raise InputError("summary.csv", f"every run is in software {common}", HINT)
    return found


def _speed_ups(groups: Groups, name: str, column: str) -> pd.DataFrame:
    """Return the speed-up of each cell over the baseline's run of the same point; the mean over seeds."""
    partner, speed = pairs(groups, name), groups.runs.set_index("run")[METRIC]
    runs = groups.runs.assign(**{column: [_ratio(speed, run, partner) for run in groups.runs["run"]]})
    means = runs.groupby(CELL, sort=False)[column].agg(lambda ratios: np.exp(np.log(ratios).mean()))
    return means.reset_index()


def _ratio(speed: pd.Series[float], run: int, partner: dict[int, int]) -> float:
    return float(speed[run] / speed[partner[run]]) if run in partner else np.nan


def _draw(groups: Groups, data: pd.DataFrame, common: str, over: str) -> Figure:
    cells = [(panel, size) for panel in groups.panels for size in groups.sizes]
    parts = {cell: data[(data[PANEL] == cell[0]) & (data[SIZE] == cell[1])] for cell in cells}
    parts = {cell: part for cell, part in parts.items() if len(part)}
    n = len(parts)
    columns = min(n, 2)
    rows = Rows(groups.series, -(-n // columns))
    figure, all_axes = panels(n, columns, COLUMN if n == 1 else PAGE, 0.3 + LINE + rows.inches, sharey=True)
    titles(figure, all_axes, columns, [_title(groups, cell) for cell in parts], 0.85)
    factors = data[[SAME, CODE, SPEED_UP]].to_numpy(float)
    low, high = np.nanmin([1.0, *factors.flat]), np.nanmax([1.0, *factors.flat])
    handles: dict[str, Any] = {}
    for axes, part in zip(all_axes, parts.values(), strict=True):
        rows.name(axes)
        _scale(axes, low, high)
        axes.axvline(1, color="black", linewidth=0.9 * unit(), zorder=0.9)
        for y, *factor in zip(rows.at(part[SERIES]), part[SAME], part[CODE], part[SPEED_UP], strict=True):
            _bar(axes, y, factor, common, handles)
    if n == 1:
        all_axes[0].set_xlabel(f"speed-up over {over}")
    else:
        figure.supxlabel(f"speed-up over {over}")
    legend(figure, handles)
    return figure


def _title(groups: Groups, cell: tuple[str, float]) -> str:
    panel = [cell[0]] if len(groups.panels) > 1 else []
    return "\n".join([*panel, *([size_title(groups.axis, cell[1])] if groups.axis else [])])


def _scale(axes: Axes, low: float, high: float) -> None:
    """Give axes a logarithmic scale from ``low`` to ``high``, with room for the numbers on the right."""
    from matplotlib.ticker import LogLocator, NullLocator

    span = max(np.log10(high / low), 0.1)
    axes.set_xscale("log")
    axes.set_xlim(low / 10 ** (0.06 * span), high * 10 ** (0.9 * span))
    subs = (
        (1, 1.2, 1.5, 2, 3, 5, 7) if span < 0.5 else (1, 2, 5) if span < 1.2 else (1, 3) if span < 2 else (1,)
    )
    axes.xaxis.set_major_locator(LogLocator(subs=subs))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _bar(axes: Axes, y: float, factors: list[float], common: str, handles: dict[str, Any]) -> None:
    """Draw a system: both factors from 1 on, or the code's after the algorithm's where both go one way."""
    algorithm, code, both = factors
    if np.isnan(both) or np.isnan(algorithm):
        beside(axes, 1, y, "n/a")
        return
    start = algorithm if (algorithm > 1) == (code > 1) else 1.0
    for words, look, begin, end in (
        (f"algorithm: both in {common}", ALGORITHM_LOOK, 1.0, algorithm),
        ("code: each in its own", CODE_LOOK, start, start * code),
    ):
        left, right = sorted((begin, end))
        drawn = axes.barh(y, right - left, 0.66, left=left, **look)
        handles.setdefault(words, drawn)
    marks = axes.plot(both, y, "D", color="white", markeredgecolor="black", zorder=3)
    handles.setdefault("their product", marks[0])
    ends = max(1.0, algorithm, start * code, both)
    text = f" {three_digits(both)} = {three_digits(algorithm)} \N{MULTIPLICATION SIGN} {three_digits(code)}"
    beside(axes, ends, y, text)
