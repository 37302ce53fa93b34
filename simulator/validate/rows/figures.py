"""The scatter of rows: simulated over published, a panel for each kind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from simulator.plots.save import render
from simulator.plots.style import COLOURS, MARKERS, PAGE, legend, panels, paper
from simulator.validate.rows.verdict import NEAR, Judged

FORMS = ("pdf", "png")
PANEL = 2.3
NAME = "scatter"
LEAST_SPAN = 5
"""How many times its smallest value an axis shows at least: a log scale needs some ticks."""
TICKS = (1, 2, 5)
"""In each decade, where an axis has less than two of them."""


def draw(judged: Sequence[Judged]) -> dict[str, bytes]:
    """Return the figure's files by name; rows that were refused are not in it."""
    kinds: dict[str, list[Judged]] = defaultdict(list)
    for one in judged:
        if one.simulated:
            kinds[one.sourced.row.kind].append(one)
    if not kinds:
        return {}
    sources = list(dict.fromkeys(one.sourced.document.path.stem for one in judged if one.simulated))
    with paper():
        figure, axes = panels(len(kinds), min(3, len(kinds)), PAGE, PANEL)
        handles: dict[str, Any] = {}
        for axis, (kind, rows) in zip(axes, sorted(kinds.items()), strict=True):
            _panel(axis, kind, rows, sources, handles)
        legend(figure, handles)
        return {f"{NAME}.{form}": render(figure, form) for form in FORMS}


def _panel(
    axis: Any, kind: str, rows: Sequence[Judged], sources: Sequence[str], handles: dict[str, Any]
) -> None:
    published = [one.sourced.row.value for one in rows]
    simulated = [one.simulated or 0 for one in rows]
    low, high = min(published + simulated) / 1.3, max(published + simulated) * 1.3
    low, high = min(low, high / LEAST_SPAN), max(high, low * LEAST_SPAN)
    handles["within 30 %"] = axis.fill_between(
        (low, high),
        ((1 - NEAR) * low, (1 - NEAR) * high),
        ((1 + NEAR) * low, (1 + NEAR) * high),
        color="#dddddd",
        linewidth=0,
    )
    handles["equal"] = axis.plot((low, high), (low, high), color="black", linewidth=0.6)[0]
    for source in dict.fromkeys(one.sourced.document.path.stem for one in rows):
        place = sources.index(source)
        own = [i for i, one in enumerate(rows) if one.sourced.document.path.stem == source]
        handles[source] = axis.scatter(
            [published[i] for i in own],
            [simulated[i] for i in own],
            s=12,
            marker=MARKERS[place % len(MARKERS)],
            color=COLOURS[place % len(COLOURS)],
            linewidths=0.5,
            alpha=0.85,
        )
    from matplotlib.ticker import LogLocator, NullFormatter

    unit = rows[0].sourced.row.unit
    axis.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), title=kind)
    for one in (axis.xaxis, axis.yaxis):
        one.set_major_locator(LogLocator(subs=TICKS if high < 100 * low else (1,)))
        one.set_major_formatter(lambda value, _: f"{value:g}")
        one.set_minor_formatter(NullFormatter())
    axis.set(xlabel=f"published, {unit}", ylabel=f"simulated, {unit}")
