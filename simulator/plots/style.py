"""How figures look: styles, column widths, and marks for colour-blind and for grey readers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.analysis.labels import folded
from simulator.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMN, PAGE = 3.33, 7.0
"""Widths to ask for; a style sets them in widths of its own."""
# Okabe and Ito (2008); their black is kept for bounds, and yellow, pale on paper, comes last.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#999999", "#F0E442")
HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx", "----", "++++", "oo")
MARKERS = "os^DvPX<>*ph"
# Inches at 8 pt, to be multiplied by ``unit()``: a line, a letter, a legend's handle with its gaps.
LINE, LETTER, HANDLE = 0.15, 0.062, 0.5
BOX: dict[str, Any] = {"edgecolor": "black"}


@dataclass(frozen=True, slots=True)
class Style:
    """Style sheets, one over the other, and what they make of a layout that is counted in inches at 8 pt."""

    sheets: tuple[str, ...]
    unit: float
    small: float
    """Small print, in points."""
    column: float
    page: float
    highest: float
    """Inches that a figure may be high: a page's text with room for a caption, a slide, a screen."""


STYLES = {
    "paper": Style(("paper",), 1.0, 7.0, COLUMN, PAGE, 8.5),
    "talk": Style(("paper", "talk"), 2.0, 16.0, 6.5, 13.0, 7.5),
    "notebook": Style(("paper", "notebook"), 1.25, 9.0, 5.5, 9.5, 12.0),
}
# Column and page of papers, in inches, from the venues' LaTeX classes.
WIDTHS = {
    "acm": (COLUMN, PAGE),
    "ieee": (3.5, 7.16),
    "usenix": (3.33, 7.0),
    "icml": (3.25, 6.75),
    "neurips": (5.5, 5.5),
}
_current: ContextVar[Style] = ContextVar("style", default=STYLES["paper"])


@contextmanager
def styled(name: str = "paper", width: str | None = None) -> Iterator[None]:
    """Draw in one of STYLES, a paper's in one of WIDTHS; the user's own settings are put back after.

    Errors: InputError on an unknown style or width, and on a width for another style than ``paper``.
    """
    from matplotlib import style

    if name not in STYLES:
        raise InputError("style", f"unknown style ({name!r})", did_you_mean(name, STYLES))
    chosen = STYLES[name]
    if width is not None:
        if width not in WIDTHS:
            raise InputError("width", f"unknown width ({width!r})", did_you_mean(width, WIDTHS))
        if name != "paper":
            raise InputError("width", f"is a paper's, and the style is {name}", "leave one of them out")
        column, page = WIDTHS[width]
        chosen = replace(chosen, column=column, page=page)
    token = _current.set(chosen)
    try:
        sheets = [Path(__file__).with_name(f"{sheet}.mplstyle") for sheet in chosen.sheets]
        with style.context(sheets, after_reset=True):
            yield
    finally:
        _current.reset(token)


def paper() -> AbstractContextManager[None]:
    """Draw in the style of papers."""
    return styled()


def unit() -> float:
    """Return by what lengths that were counted at 8 pt are multiplied in the current style."""
    return _current.get().unit


def small() -> float:
    """Return the points of small print in the current style."""
    return _current.get().small


def panels(n: int, columns: int, width: float, height: float, **share: Any) -> tuple[Figure, list[Axes]]:
    """Return a figure of ``width`` with ``n`` axes in rows of ``columns``, each ``height`` high.

    Both are inches at 8 pt; COLUMN and PAGE become those of the style.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows, style = -(-n // columns), _current.get()
    wide = {COLUMN: style.column, PAGE: style.page}.get(width, width * style.unit)
    figure = Figure(figsize=(wide, rows * height * style.unit), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False, **share)
    axes = list(grid.flat)
    for spare in axes[n:]:
        spare.remove()
    return figure, axes[:n]


def fitted(draw: Callable[[int], Figure], most: int) -> tuple[int, Figure]:
    """Return the largest ``n`` up to ``most`` whose ``draw(n)`` is no higher than a page, and that figure.

    That of 1 is returned whatever its height is.
    """
    figure = draw(most)
    if _fits(figure) or most <= 1:
        return most, figure
    figure, low, high = draw(1), 1, most
    while high - low > 1:  # low fits or is 1, high does not fit
        middle = (low + high) // 2
        tried = draw(middle)
        if _fits(tried):
            figure, low = tried, middle
        else:
            high = middle
    return low, figure


def _fits(figure: Figure) -> bool:
    return bool(figure.get_size_inches()[1] <= _current.get().highest)


def spread(found: Sequence[Any], most: int) -> list[Any]:
    """Return at most ``most`` of a sequence, evenly spread, the first and last among them."""
    if len(found) <= most:
        return list(found)
    return [found[i * (len(found) - 1) // max(1, most - 1)] for i in range(most)]


def box(index: int) -> dict[str, Any]:
    """Return the look of the bars of a series."""
    return {"facecolor": COLOURS[index % 8], "hatch": HATCHES[index % 8], **BOX}


def shade(index: int, n: int) -> dict[str, Any]:
    """Return the look of the bars of the ``index``-th of ``n`` ordered values: from light to dark."""
    from matplotlib import colormaps

    return {"facecolor": colormaps["cividis"](0.97 - 0.9 * index / max(1, n - 1)), **BOX}


def line(index: int) -> dict[str, Any]:
    """Return the look of the line of a series; from the eighth on dashed. Hollow markers are for bounds."""
    colour, first = COLOURS[:7][index % 7], index < 7
    return {
        "color": colour,
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": "-" if first else (0, (4, 1.2)),
    }


def widen(figure: Figure) -> None:
    """Make a figure as wide as the style's page."""
    figure.set_figwidth(_current.get().page)


def legend(figure: Figure, handles: Mapping[str, Any], title: str = "") -> None:
    """Put a legend above the axes, in as many columns as fit, and make the figure higher by its height.

    ``handles`` has what was drawn by its name.
    """
    scale = unit()
    width, height = figure.get_size_inches() / scale
    shown = [folded(name, int((width - HANDLE) / LETTER)) for name in handles]
    title = folded(title, int(width / LETTER)) if title else ""
    columns = next(n for n in range(len(shown), 0, -1) if n == 1 or _wide(shown, n) <= width)
    columns = -(-len(shown) // -(-len(shown) // columns))  # as many rows, evenly filled
    lines = max(sum(name.count("\n") + 1 for name in part) for part in _filled(shown, columns))
    lines += title.count("\n") + bool(title)
    figure.set_size_inches(width * scale, (height + 0.08 + 1.1 * LINE * lines) * scale)
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
