"""Figures of speed, hits and latency: words stay within a page, and apart from each other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from matplotlib.text import Text

from simulator.analysis.groups import group
from simulator.errors import InputError
from simulator.plots.style import STYLES, WIDTHS, styled
from tests.plots.speeds import CASES, LONG, OWN, plotted, summary


def boxes(texts: Sequence[Any]) -> list[Any]:
    return [text.get_window_extent() for text in texts if text.get_text() and text.get_visible()]


LOOKS = [
    *((case, "paper", None) for case in CASES),
    *(
        (case, style, width)
        for case in ("systems by size", "long names", "two models")
        for style, width in (("talk", None), ("notebook", None), ("paper", "icml"), ("paper", "neurips"))
    ),
]


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize(("which", "style", "width"), LOOKS, ids=str)
def test_words_stay_within_the_figure_and_apart(name: str, which: str, style: str, width: str | None) -> None:
    case = CASES[which]
    frame = summary(**case)
    if name == "speed-up" and group(frame).series[1:] == []:
        with pytest.raises(InputError, match=r"no run can be compared|one run only"):
            plotted(name, frame)
        return
    with styled(style, width):
        figure, _ = plotted(name, frame)
        figure.draw_without_rendering()
        widths = WIDTHS[width] if width else (STYLES[style].column, STYLES[style].page)
        assert figure.get_size_inches()[0] in widths
        assert figure.get_size_inches()[1] <= STYLES[style].highest
        canvas = figure.bbox
        for axes in figure.axes:
            labels = [
                b for b in boxes(axes.get_yticklabels()) if axes.bbox.y0 < (b.y0 + b.y1) / 2 < axes.bbox.y1
            ]
            assert not any(a.overlaps(b) for a, b in pairwise(labels))
            ticks = [
                b for b in boxes(axes.get_xticklabels()) if axes.bbox.x0 <= (b.x0 + b.x1) / 2 <= axes.bbox.x1
            ]
            assert (
                not any(a.overlaps(b) for a, b in pairwise(ticks)) or axes.get_xticklabels()[0].get_rotation()
            )
            own = boxes([axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts])
            for box in (*own, *ticks, *labels):
                assert (box.x0 >= -1, box.x1 <= canvas.x1 + 1, box.y1 <= canvas.y1 + 1) == (True, True, True)
        for legend in figure.legends:
            box = legend.get_window_extent()
            assert (box.x0 >= -1, box.x1 <= canvas.x1 + 1, box.y1 <= canvas.y1 + 1) == (True, True, True)
            assert not any(box.overlaps(axes.bbox) for axes in figure.axes)


def test_a_legend_that_would_be_as_high_as_its_plot_takes_the_page() -> None:
    for systems, width in (("abcdef", STYLES["paper"].column), ("abcdefgh", STYLES["paper"].page)):
        figure, _ = plotted("hit-rate", summary(systems=systems, sizes_gib=(4, 8)))
        assert figure.get_size_inches()[0] == width


@pytest.mark.parametrize("name", ["tokens-per-second", "hit-rate", "latency-breakdown", "speed-up"])
@pytest.mark.parametrize(("style", "width"), [("paper", "icml"), ("talk", None)])
def test_what_is_higher_than_a_page_shows_some_and_says_of_how_many(
    name: str, style: str, width: str | None
) -> None:
    frame = summary(systems=[f"{name}-{at}" for at in "abc" for name in LONG])
    with styled(style, width):
        figure, data = plotted(name, frame)
    assert figure.get_size_inches()[1] <= STYLES[style].highest
    said = figure.legends[-1].get_title().get_text().replace("\n", " ")
    drawn = len(figure.axes[0].get_yticklabels())
    assert 6 <= drawn < 36
    assert said == f"Shown: {drawn} of 36, evenly spread from lowest to highest. The CSV has all."
    assert data["system"].nunique() == 36


WIDE = {"models": ("a", "b"), "machines": ("x", "y"), "sizes_gib": (1, 2, 3, 4, 6, 8)}


def test_thirteen_systems_at_six_sizes_in_four_panels_fit_a_page() -> None:
    figure, _ = plotted("tokens-per-second", summary(systems=[*"abcdefghijklm"], **WIDE))
    assert figure.get_size_inches()[1] <= STYLES["paper"].highest
    assert [label.get_text() for label in figure.axes[-1].get_xticklabels()] == [*"abcdefghijklm"]


def test_a_note_stands_below_the_name_of_the_axes() -> None:
    figure, _ = plotted("latency-breakdown", summary(systems=LONG, **WIDE))
    (name,) = figure.findobj(lambda one: isinstance(one, Text) and one.get_text().startswith("ms per "))
    figure.draw_without_rendering()
    note = figure.legends[-1].get_window_extent()
    assert note.y1 <= name.get_window_extent().y1 - 8 / 72 * figure.dpi  # its letters are 8 pt high
    assert name.get_window_extent().y1 <= min(axes.get_tightbbox().y0 for axes in figure.axes)


def test_of_more_panels_than_a_page_has_room_for_the_first_are_shown() -> None:
    figure, data = plotted("hit-rate", summary(systems=LONG[:7], sizes_gib=(4, 8), models=[*"abcdefghijkl"]))
    assert figure.get_size_inches()[1] <= STYLES["paper"].highest
    said = figure.legends[-1].get_title().get_text().replace("\n", " ")
    assert said.startswith(f"Shown: the first {len(figure.axes)} of 12 panels; 6 of 7")
    assert data["model"].nunique() == 12
