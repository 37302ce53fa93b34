"""Bars that lie, one for each system, with their names beside them; and what bars share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.analysis.groups import Groups
from simulator.analysis.labels import folded
from simulator.plots.style import COLUMN, LINE, PAGE, panels, small, unit

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME_WIDTH, TITLE_WIDTH = 24, 44  # letters
ROW, DENSE = 0.17, 0.13  # inches a bar; the latter where a figure would outgrow its page


class Rows:
    """Where lying bars are, from top to bottom: the bar of a name on two lines has the more space.

    ``stacked`` is how many panels will stand one above the other.
    """

    def __init__(self, series: list[str], stacked: int = 1) -> None:
        self.pitch = ROW if stacked * len(series) <= 36 else DENSE
        self.names = [folded(name, NAME_WIDTH) for name in series]
        heights = [max(1.0, 0.14 / self.pitch * (name.count("\n") + 1)) for name in self.names]
        ends = np.cumsum(heights)
        self.places = dict(zip(series, (ends - np.array(heights) / 2).tolist(), strict=True))
        self.end = float(ends[-1])

    @property
    def inches(self) -> float:
        """The height of all bars."""
        return self.pitch * (self.end + 0.2)

    def at(self, series: pd.Series[str]) -> Any:
        """Return the middles of the bars of these series."""
        return series.map(self.places).to_numpy(float)

    def name(self, axes: Axes) -> None:
        """Write the names beside the axes."""
        axes.set_yticks(list(self.places.values()), self.names, linespacing=1.0)
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(self.end + 0.1, -0.1)
        axes.grid(visible=True, axis="x")


def lying(groups: Groups, label: str) -> tuple[Figure, list[Axes], Rows]:
    """Return a figure with axes per panel for lying bars, and their places; ``label`` is what they show."""
    n, rows = len(groups.panels), Rows(groups.series)
    titles = [folded(panel, TITLE_WIDTH) for panel in groups.panels] if n > 1 else [""]
    height = 0.38 + rows.inches + LINE * max(title.count("\n") + bool(title) for title in titles)
    figure, all_axes = panels(n, min(n, 2), COLUMN if n == 1 else PAGE, height, sharey=True)
    for axes, title in zip(all_axes, titles, strict=True):
        rows.name(axes)
        axes.set_xlabel(label)
        axes.set_title(title)
    return figure, all_axes, rows


def whiskers(part: pd.DataFrame, metric: str) -> Any:
    """Return the range of averaged runs as distances below and above [2, n]; None without such."""
    if f"{metric}_min" not in part:
        return None
    mean = part[metric].to_numpy(float)
    low, high = part[f"{metric}_min"].to_numpy(float), part[f"{metric}_max"].to_numpy(float)
    return np.clip(np.nan_to_num([mean - low, high - mean]), 0, None)


def beside(axes: Axes, x: float, y: float, text: str) -> None:
    """Write a value at the end of a lying bar."""
    axes.annotate(text, (x, y), (3 * unit(), 0), textcoords="offset points", va="center", fontsize=small())


def absent(axes: Axes, at: Any, values: pd.Series[float]) -> None:
    """Write n/a where a standing bar has no value."""
    for x, value in zip(at, values, strict=True):
        if np.isnan(value):
            axes.text(x, 0, " n/a", rotation=90, ha="center", va="bottom", fontsize=small())
