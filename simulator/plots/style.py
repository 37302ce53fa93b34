"""One style for all figures: colours that colour-blind readers tell apart, and marks that grey readers do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito, Color universal design, 2008; without yellow, which is lost on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
HATCHES = ("", "///", "...", "\\\\\\", "xxx", "---", "ooo")
COLUMN_IN, PAGE_IN = 3.33, 7.0
PANEL_HEIGHT_IN = 2.2


@contextmanager
def paper() -> Iterator[None]:
    """Draw in the style of ``paper.mplstyle``, without a screen."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    with plt.style.context(Path(__file__).with_name("paper.mplstyle")):
        try:
            yield
        finally:
            plt.close("all")


def mark(i: int) -> dict[str, Any]:
    """Return colour and marker of the i-th line."""
    return {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[(i + i // len(COLOURS)) % len(MARKERS)]}


def fill(i: int) -> dict[str, Any]:
    """Return colour and hatch of the i-th bar."""
    hatch = HATCHES[(i + i // len(COLOURS)) % len(HATCHES)]
    return {"facecolor": COLOURS[i % len(COLOURS)], "hatch": hatch, "edgecolor": "white"}


def panels(titles: list[str], width_in: float) -> tuple[Figure, list[Axes]]:
    """Return a figure with one panel a title, two in a row where there are several."""
    from matplotlib import pyplot as plt

    n_columns = 1 if len(titles) == 1 else 2
    n_rows = -(-len(titles) // n_columns)
    size = (width_in if n_columns == 1 else PAGE_IN, PANEL_HEIGHT_IN * n_rows)
    figure, grid = plt.subplots(n_rows, n_columns, figsize=size, squeeze=False)
    flat: np.ndarray[Any, Any] = grid.ravel()
    for axes in flat[len(titles) :]:
        axes.set_visible(False)
    for axes, title in zip(flat, titles, strict=False):
        axes.set_title(title)
    return figure, list(flat[: len(titles)])


def size_ticks(axes: Axes, sizes: list[float]) -> None:
    """Put a tick at every size, where there are few enough to be told apart."""
    if len(sizes) <= 7:
        axes.set_xticks(sizes, [f"{size:.3g}" for size in sizes])


def name_ticks(axes: Axes, places: list[float], names: list[str]) -> None:
    """Put names under bars; aslant, ending at their bar, where there are many."""
    many = len(names) > 4
    slant: dict[str, Any] = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if many else {}
    axes.set_xticks(places, names, **slant)


def legend_below(figure: Figure, handles: list[Any], labels: list[str], n_columns: int) -> None:
    """Put one legend for all panels under them, where it covers no data."""
    figure.legend(handles, labels, loc="outside lower center", ncols=min(n_columns, len(labels)))
