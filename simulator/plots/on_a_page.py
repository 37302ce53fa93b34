"""As many series, sizes and panels as a figure has room for on its page; the others are counted below it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from simulator.analysis.groups import PANEL, SERIES, SIZE, Groups
from simulator.plots.notes import note
from simulator.plots.style import fitted, spread

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

LEAST, LEAST_SIZES = 6, 2
"""Series below which sizes are left out instead, and sizes below which panels are."""


def on_a_page(
    groups: Groups,
    data: pd.DataFrame,
    by: pd.Series[float],
    draw: Callable[[Groups, pd.DataFrame], Figure],
    words: str = "",
    *,
    each_size: bool = False,
) -> Figure:
    """Return what ``draw`` makes of the groups, or of fewer where that would be higher than a page.

    Series that stay lie evenly between the least and the greatest mean of ``by``, a value for each row of
    ``data``; sizes, where ``each_size`` has a panel, likewise; panels that stay are the first. A note below
    says ``words``, and what is left out.
    """
    means = by.groupby(data[SERIES]).mean().reindex(groups.series)
    ranked = list(means.sort_values(kind="stable").index)
    all_ = Counts(len(groups.panels), len(groups.sizes), len(ranked))
    least = Counts(1, min(LEAST_SIZES, all_.sizes) if each_size else all_.sizes, min(LEAST, all_.series))
    steps = [
        *(replace(least, panels=n) for n in range(1, all_.panels + 1)),
        *(replace(all_, series=least.series, sizes=n) for n in range(least.sizes + 1, all_.sizes + 1)),
        *(replace(all_, series=n) for n in range(least.series + 1, all_.series + 1)),
    ]

    def some(step: int) -> Figure:
        n = steps[step - 1]
        series, sizes = set(spread(ranked, n.series)), spread(groups.sizes, n.sizes)
        kept = (
            data[PANEL].isin(groups.panels[: n.panels]) & data[SERIES].isin(series) & data[SIZE].isin(sizes)
        )
        fewer = replace(
            groups,
            panels=[name for name in groups.panels if name in set(data[PANEL][kept])],
            series=[name for name in groups.series if name in series],
            sizes=sizes,
        )
        figure = draw(fewer, data[kept])
        note(figure, f"{words} {_left_out(n, all_)}".strip())
        return figure

    return fitted(some, len(steps))[1]


@dataclass(frozen=True, slots=True)
class Counts:
    """How many of each are shown."""

    panels: int
    sizes: int
    series: int


def _left_out(n: Counts, of: Counts) -> str:
    """Return what is shown of how many; nothing where all is."""
    parts = [f"the first {n.panels} of {of.panels} panels"] if n.panels < of.panels else []
    if n.sizes < of.sizes:
        parts.append(f"{n.sizes} of {of.sizes} cache sizes")
    if n.series < of.series:
        parts.append(f"{n.series} of {of.series}, evenly spread from lowest to highest")
    return f"Shown: {'; '.join(parts)}. The CSV has all." if parts else ""
