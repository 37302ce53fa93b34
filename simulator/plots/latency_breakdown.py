"""Figure: where the time of a decoded token goes, stacked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.plots import groups as grouping
from simulator.plots.style import COLUMN_IN, PAGE_IN, fill, legend_below, name_ticks, panels

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABELS = {
    "dense_ms_per_token": "dense",
    "expert_compute_ms_per_token": "expert compute",
    "cpu_expert_wait_ms_per_token": "waiting for the CPU",
    "stall_cpu_to_gpu_ms_per_token": "stall: DRAM to GPU",
    "stall_ssd_to_cpu_ms_per_token": "stall: SSD to DRAM",
    "stall_ssd_to_gpu_ms_per_token": "stall: SSD to GPU",
    "overhead_ms_per_token": "overhead",
}
NEEDS = ("dense_ms_per_token", "expert_compute_ms_per_token", "overhead_ms_per_token")


def plot(summary: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Return a stacked bar a run (grouped by series, ordered by size) and the data shown."""
    found = grouping.group(summary)
    there = [name for name in LABELS if name in summary and summary[name].fillna(0).abs().sum() > 0]
    data = grouping.shown(found, there)
    n_bars = len(found.series) * len(found.sizes)
    figure, all_axes = panels(found.panels, PAGE_IN if n_bars > 6 else COLUMN_IN)
    handles: list[object] = []
    for axes, panel in zip(all_axes, found.panels, strict=True):
        handles = _stack(axes, data[data[grouping.PANEL] == panel], found, there)
    legend_below(figure, handles, [LABELS[name] for name in there], 3 if n_bars > 6 else 2)
    return figure, grouping.table(data, found.axis)


def _stack(axes: Axes, part: pd.DataFrame, found: grouping.Groups, there: list[str]) -> list[object]:
    handles: list[object] = []
    step = len(found.sizes) + 0.8
    places = [
        found.series.index(series) * step + found.sizes.index(size)
        for series, size in zip(part[grouping.SERIES], part[grouping.SIZE], strict=True)
    ]
    bottom = [0.0] * len(part)
    for name in there:
        heights = part[name].fillna(0.0).tolist()
        look = fill(list(LABELS).index(name))
        handles.append(axes.bar(places, heights, width=0.8, bottom=bottom, **look))
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    axes.set_ylabel("ms per decoded token")
    axes.grid(visible=True, axis="y")
    middles = [i * step + (len(found.sizes) - 1) / 2 for i in range(len(found.series))]
    if found.axis is None:
        name_ticks(axes, middles, found.series)
        return handles
    axes.set_xticks(
        places, [f"{size:.3g}" for size in part[grouping.SIZE]], rotation=90 if len(places) > 18 else 0
    )
    names = axes.secondary_xaxis(location=1.0)
    many = len(found.series) > 4
    names.set_xticks(middles, found.series, rotation=20 if many else 0, ha="left" if many else "center")
    names.tick_params(length=0)
    names.spines["top"].set_visible(False)
    axes.set_xlabel(found.axis.label)
    return handles
