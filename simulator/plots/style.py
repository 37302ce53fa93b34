"""How figures look: paper.mplstyle, column widths, and marks for colour-blind and for grey readers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.plots.labels import folded

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMN, PAGE = 3.33, 7.0
# Okabe and Ito (2008); their black is kept for bounds, and yellow, pale on paper, comes last.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#999999", "#F0E442")
HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx", "----", "++++", "oo")
MARKERS = "os^DvPX<>*ph"
LINE, LETTER, HANDLE = (
    0.15,
    0.062,
    0.5,
)  # inches: a line and a letter at 8 pt, a legend's handle with its gaps
BOX: dict[str, Any] = {"edgecolor": "black", "linewidth": 0.5}


@contextmanager
def paper() -> Iterator[None]:
    """Draw in the style of papers whatever the user's own settings, which are put back after."""
    from matplotlib import style

    with style.context(Path(__file__).with_name("paper.mplstyle"), after_reset=True):
        yield


def panels(n: int, columns: int, width: float, height: float, **share: Any) -> tuple[Figure, list[Axes]]:
    """Return a figure of ``width`` with ``n`` axes in rows of ``columns``, each ``height`` high (inches)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = -(-n // columns)
    figure = Figure(figsize=(width, rows * height), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False, **share)
    axes = list(grid.flat)
    for spare in axes[n:]:
        spare.remove()
    return figure, axes[:n]


def box(index: int) -> dict[str, Any]:
    """Return the look of the bars of a series."""
    return {"facecolor": COLOURS[index % 8], "hatch": HATCHES[index % 8], **BOX}


def shade(index: int, n: int) -> dict[str, Any]:
    """Return the look of the bars of the ``index``-th of ``n`` ordered values: from light to dark."""
    from matplotlib import colormaps

    return {"facecolor": colormaps["cividis"](0.97 - 0.9 * index / max(1, n - 1)), **BOX}


def line(index: int) -> dict[str, Any]:
    """Return the look of the line of a series; from the ninth on dashed, with hollow markers."""
    colour, first = COLOURS[:7][index % 7], index < 7
    return {
        "color": colour,
        "marker": MARKERS[index % len(MARKERS)],
        "markerfacecolor": colour if first else "white",
        "linestyle": "-" if first else (0, (4, 1.2)),
    }


def legend(figure: Figure, handles: Mapping[str, Any], title: str = "") -> None:
    """Put a legend above the axes, in as many columns as fit, and make the figure higher by its height.

    ``handles`` has what was drawn by its name.
    """
    width, height = figure.get_size_inches()
    shown = [folded(name, int((width - HANDLE) / LETTER)) for name in handles]
    columns = next(n for n in range(len(shown), 0, -1) if n == 1 or _wide(shown, n) <= width)
    columns = -(-len(shown) // -(-len(shown) // columns))  # as many rows, evenly filled
    lines = max(sum(name.count("\n") + 1 for name in part) for part in _filled(shown, columns)) + bool(title)
    figure.set_size_inches(width, height + 0.08 + 1.1 * LINE * lines)
    figure.legend(
        list(handles.values()), shown, loc="outside upper center", ncols=columns, title=title or None
    )


def _filled(names: Sequence[str], columns: int) -> list[list[str]]:
    """Return the names in each column of a legend, as matplotlib deals them out."""
    each, more = divmod(len(names), columns)
    ends = [(n + 1) * each + min(n + 1, more) for n in range(columns)]
    return [list(names[start:end]) for start, end in zip([0, *ends], ends, strict=False)]


def _wide(names: Sequence[str], columns: int) -> float:
    """Return the width of a legend in inches."""
    letters = [
        max(len(line) for name in part for line in name.split("\n")) for part in _filled(names, columns)
    ]
    return HANDLE * columns + LETTER * sum(letters)


def nothing(axes: Axes, what: str) -> None:
    """Say inside empty axes that no run has the metric."""
    axes.text(0.5, 0.5, f"no run has {what}", ha="center", va="center", transform=axes.transAxes)
