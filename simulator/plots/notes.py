"""Words around panels: titles folded to their width, and small print below the figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from simulator.analysis.labels import folded
from simulator.plots.style import LETTER, LINE, small, unit

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SEEDS = "Whiskers: lowest and highest seed."
POINTS = 8  # at which a letter and a line are measured


def titles(figure: Figure, axes: Sequence[Axes], columns: int, words: Sequence[str], share: float) -> None:
    """Set the titles of panels in rows of ``columns``, and make the figure higher by their lines.

    ``share`` is how much of a column's width is for the title.
    """
    width, height = figure.get_size_inches()
    letters = int(share * (width / unit() - 0.8) / columns / LETTER) - 1
    texts = [folded(text, max(8, letters)) for text in words]
    lines = max(text.count("\n") + bool(text) for text in texts)
    figure.set_size_inches(width, height + unit() * LINE * lines * -(-len(texts) // columns))
    for panel, text in zip(axes, texts, strict=True):
        panel.set_title(text)


def note(figure: Figure, text: str) -> None:
    """Write a note below all axes, and make the figure higher by it; nothing without text."""
    if text:
        width, height = figure.get_size_inches()
        shown = folded(text, int((width - 0.1 * unit()) / (1.03 * LETTER * small() / POINTS)))
        lines = shown.count("\n") + 1
        figure.set_size_inches(width, height + 0.13 * unit() + LINE * small() / POINTS * lines)
        if below := figure.get_supxlabel():  # both are put at the bottom edge: blank lines lift it
            figure.supxlabel(below + "\n" * (lines + 1))
        figure.legend([], [], title=shown, title_fontsize=small(), loc="outside lower left")


def on_seeds(data: pd.DataFrame) -> str:
    """Return what the whiskers of averaged runs are; nothing where no runs were averaged."""
    return SEEDS if "runs_averaged" in data else ""
