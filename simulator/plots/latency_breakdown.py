"""Where the time of a decoded token goes: its labels stacked, a bar for each system and cache size."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.analysis.groups import PANEL, SERIES, SIZE, Groups, group, shown, table
from simulator.analysis.labels import folded, stall_text
from simulator.numerals import three_digits
from simulator.plots.bars import TITLE_WIDTH, Rows, beside
from simulator.plots.lines import size_title
from simulator.plots.on_a_page import on_a_page
from simulator.plots.scales import comparable
from simulator.plots.style import BOX, COLUMN, LINE, PAGE, legend, panels, unit

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABEL, IN_BATCHES = "ms per decoded token", "ms per decode step"
SPEED = "tokens_per_second"
END = "_ms_per_token"
TOTAL_STALL = f"stall{END}"
NEEDS = ("system", f"dense{END}")
# Each label keeps its look in every figure, whichever others are there.
LOOKS = {
    f"dense{END}": ("dense", "#0072B2", ""),
    f"expert_compute{END}": ("expert compute", "#56B4E9", "////"),
    f"cpu_expert_wait{END}": ("CPU expert wait", "#009E73", "...."),
    f"stall_cpu_to_gpu{END}": ("", "#D55E00", "xxxx"),
    f"stall_ssd_to_cpu{END}": ("", "#E69F00", "\\\\\\\\"),
    f"stall_ssd_to_gpu{END}": ("", "#F0E442", "----"),
    TOTAL_STALL: ("", "#D55E00", "xxxx"),
    f"overhead{END}": ("overhead", "#999999", ""),
    f"host{END}": ("host", "#CC79A7", "oo"),
}
PLAIN = [name for name in LOOKS if not name.startswith("stall")]
BEFORE_STALLS, AFTER_STALLS = PLAIN[:-2], PLAIN[-2:]
OTHER_STALL = ("", "#CC79A7", "++++")


def plot(summary: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the data that it shows: a row per panel, system and cache size, in ms."""
    groups = group(summary)
    labels = _labels(groups.runs)
    data = shown(groups, labels)
    draw = partial(_draw, labels=labels, label=IN_BATCHES if _in_batches(groups.runs) else LABEL)
    figure = on_a_page(groups, data, data[labels].sum(axis=1), draw, each_size=True)
    return figure, table(data, groups.axis)


def _in_batches(runs: pd.DataFrame) -> bool:
    """Return whether a decode step of any run decodes several tokens: it is then shorter than its parts.

    A step's parts are charged whole to each of its tokens, so that they times tokens/s are tokens per step.
    """
    parts = [name for name in runs if str(name).endswith(END) and (name == TOTAL_STALL or name in PLAIN)]
    if SPEED not in runs or TOTAL_STALL not in parts:
        return False
    return bool((runs[parts].sum(axis=1) * runs[SPEED] > 1000 * 1.01).any())


def _draw(groups: Groups, data: pd.DataFrame, labels: list[str], label: str) -> Figure:
    cells = [(panel, size) for panel in groups.panels for size in groups.sizes]
    parts = [data[(data[PANEL] == panel) & (data[SIZE] == size)] for panel, size in cells]
    kept = [(cell, part) for cell, part in zip(cells, parts, strict=True) if len(part)]
    longest = data.assign(_total=data[labels].sum(axis=1)).groupby(PANEL)["_total"].max()
    if comparable(list(longest)):
        longest[:] = longest.max()
    else:
        label += ", a scale for each machine"
    figure, all_axes, rows = _axes(groups, [cell for cell, _ in kept], label)
    handles: dict[str, Any] = {}
    for axes, ((panel, _), part) in zip(all_axes, kept, strict=True):
        _stack(axes, rows, part, labels, handles)
        axes.set_xlim(0, max(1e-9, longest[panel]) * 1.22)
    legend(figure, handles)
    return figure


def _labels(runs: pd.DataFrame) -> list[str]:
    """Return the columns to stack: those not zero in all runs; stalls by link where they are known."""
    ends = [str(name) for name in runs if str(name).endswith(END)]
    by_link = [name for name in ends if name.startswith("stall_") and name != TOTAL_STALL]
    stalls = by_link or [TOTAL_STALL]
    wanted = [name for name in (*BEFORE_STALLS, *stalls, *AFTER_STALLS) if name in runs]
    return [name for name in wanted if (runs[name].fillna(0) != 0).any()] or wanted[:1]


def _axes(groups: Groups, cells: list[tuple[str, float]], label: str) -> tuple[Figure, list[Axes], Rows]:
    """Return axes for each panel and size, the names of the systems beside the first of each row.

    Panels of one model and machine stand in one row under its name, where all have the same sizes.
    """
    n = len(cells)
    columns = {1: 1, 2: 2, 3: 3, 4: 4, 5: 3, 6: 3}.get(n, 4)
    in_rows = len(groups.panels) > 1 and 1 < len(groups.sizes) <= 6 and n % len(groups.sizes) == 0
    if in_rows:
        columns = len(groups.sizes)
    elif len(groups.panels) > 1:
        columns = 2
    rows = Rows(groups.series, -(-n // columns))
    titles = [_title(groups, cell, in_rows=in_rows) for cell in cells]
    height = 0.3 + rows.inches + LINE * max(title.count("\n") + bool(title) for title in titles)
    height += LINE * (in_rows + 1.2 / -(-n // columns))
    figure, all_axes = panels(n, columns, COLUMN if n == 1 else PAGE, height, sharey=True)
    for index, (axes, title) in enumerate(zip(all_axes, titles, strict=True)):
        rows.name(axes)
        axes.set_title(title)
        if in_rows and index % columns == 0:
            axes.set_title("\n" + title)  # the upper line is the row's, which is wider than its first panel
            name = f"{cells[index][0]}, {groups.axis.tier if groups.axis else ''} cache of".replace(
                "\n", ", "
            )
            above = axes.annotate(
                name, (0, 1), (0, 17 * unit()), xycoords="axes fraction", textcoords="offset points"
            )
            above.set_in_layout(False)
    if n == 1:
        all_axes[0].set_xlabel(label)
    else:
        figure.supxlabel(label)
    return figure, all_axes, rows


def _title(groups: Groups, cell: tuple[str, float], *, in_rows: bool) -> str:
    panel, size = cell
    sizes = [size_title(groups.axis, size, short=in_rows)] if groups.axis else []
    named = len(groups.panels) > 1 and not in_rows
    return "\n".join([folded(panel, TITLE_WIDTH), *sizes] if named else sizes)


def _stack(axes: Axes, rows: Rows, part: pd.DataFrame, labels: list[str], handles: dict[str, Any]) -> None:
    at, left = rows.at(part[SERIES]), np.zeros(len(part))
    for name in labels:
        text, colour, hatch = LOOKS.get(name, OTHER_STALL)
        spent = np.nan_to_num(part[name].to_numpy(float))
        drawn = axes.barh(at, spent, 0.7, left=left, facecolor=colour, hatch=hatch, **BOX)
        handles.setdefault(text or stall_text(name), drawn)
        left += spent
    known = part[labels].notna()
    for y, total, some, every in zip(at, left, known.any(axis=1), known.all(axis=1), strict=True):
        beside(axes, total, y, three_digits(total) if every else "incomplete" if some else "n/a")
