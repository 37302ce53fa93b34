"""Figure: decoded tokens per second, by system and cache size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.plots import groups as grouping
from simulator.plots.style import COLUMN_IN, PAGE_IN, fill, legend_below, mark, name_ticks, panels, size_ticks

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

NEEDS = ("tokens_per_second",)


def plot(summary: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Return lines over cache size, or bars where the size does not vary, and the data shown."""
    found = grouping.group(summary)
    data = grouping.shown(found, ["tokens_per_second"])
    many = len(found.series) > 4
    figure, all_axes = panels(found.panels, PAGE_IN if many and found.axis is None else COLUMN_IN)
    handles: list[object] = []
    for axes, panel in zip(all_axes, found.panels, strict=True):
        handles = []
        part = data[data[grouping.PANEL] == panel]
        for i, name in enumerate(found.series):
            rows = part[part[grouping.SERIES] == name]
            if found.axis is not None:
                handles += axes.plot(rows[grouping.SIZE], rows["tokens_per_second"], label=name, **mark(i))
            else:
                height = rows["tokens_per_second"].iloc[0] if len(rows) else 0.0
                bars = axes.bar([i], [height], width=0.7, **fill(i))
                axes.bar_label(bars, fmt="%.3g", padding=1)
        if found.axis is None:
            name_ticks(axes, [float(i) for i in range(len(found.series))], found.series)
        else:
            axes.set_xlabel(found.axis.label)
            size_ticks(axes, found.sizes)
        axes.set_ylabel("decoded tokens/s")
        axes.margins(y=0.12)
        axes.set_ylim(bottom=0)
        axes.grid(visible=True, axis="y")
    if handles and len(found.series) > 1:
        legend_below(figure, handles, found.series, 2)
    return figure, grouping.table(data, found.axis)
