"""Figures of misses, prefetches, fidelity, parts and time: words stay within a page, and apart."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from simulator.plots.save import render
from simulator.plots.style import STYLES, WIDTHS, styled
from tests.plots.details import CASES, FIGURES, asked, drawn, summary

pytestmark = pytest.mark.usefixtures("in_the_style_of_papers")


def boxes(texts: Sequence[Any]) -> list[Any]:
    return [text.get_window_extent() for text in texts if text.get_text().strip() and text.get_visible()]


LOOKS = [
    *((case, "paper", None) for case in CASES),
    *(("panels", *look) for look in (("talk", None), ("paper", "icml"), ("paper", "neurips"))),
]


@pytest.mark.parametrize(
    ("name", "look"),
    [pytest.param(n, look, id=f"{n}-{look}") for look in LOOKS for n in FIGURES if asked(n, look[0])],
)
def test_words_stay_within_the_figure_and_apart(name: str, look: tuple[str, str, str | None]) -> None:
    case, style, width = look
    with styled(style, width):
        _check_words(
            drawn(name, summary(**CASES[case]))[0],
            WIDTHS[width] if width else (STYLES[style].column, STYLES[style].page),
            STYLES[style].highest,
        )


def _check_words(figure: Any, widths: tuple[float, float], highest: float) -> None:
    assert figure.get_size_inches()[0] in widths
    assert figure.get_size_inches()[1] <= highest
    canvas, outside = figure.bbox, []
    for axes in figure.axes:
        assert axes.bbox.width > (5 if axes.get_label() == "<colorbar>" else 40), "axes squeezed away"
        assert axes.bbox.height > 15, "axes squeezed away"
        y = [
            b
            for b in boxes(axes.get_yticklabels())
            if axes.bbox.y0 - 1 < (b.y0 + b.y1) / 2 < axes.bbox.y1 + 1
        ]
        x = [
            b
            for b in boxes(axes.get_xticklabels())
            if axes.bbox.x0 - 1 <= (b.x0 + b.x1) / 2 <= axes.bbox.x1 + 1
        ]
        assert not any(a.overlaps(b) for a, b in pairwise(y))
        if not axes.get_xticklabels() or not axes.get_xticklabels()[0].get_rotation():
            assert not any(a.overlaps(b) for a, b in pairwise(x))
        titles = boxes([axes.title, axes._left_title])
        own = [*titles, *boxes([axes.xaxis.label, axes.yaxis.label, *axes.texts])]
        for box in (*own, *x, *y):
            assert (box.x0 >= -1, box.x1 <= canvas.x1 + 1) == (True, True)
            assert (box.y0 >= -1, box.y1 <= canvas.y1 + 1) == (True, True)
        outside += [*titles, *boxes([axes.xaxis.label, axes.yaxis.label]), *y]
        outside += boxes([text for text in axes.texts if text.get_position()[1] == 1])
    for a, b in ((a, b) for i, a in enumerate(outside) for b in outside[:i]):
        assert not shrunk(a).overlaps(shrunk(b))
    for legend in figure.legends:
        box = legend.get_window_extent()
        assert (box.x0 >= -1, box.x1 <= canvas.x1 + 1) == (True, True)
        assert (box.y0 >= -1, box.y1 <= canvas.y1 + 1) == (True, True)
        assert not any(box.overlaps(axes.bbox) for axes in figure.axes)
        assert not any(box.overlaps(other) for other in outside)


def shrunk(box: Any) -> Any:
    """Return a box without the room above and below its letters."""
    return box.padded(-1, -1)


@pytest.mark.parametrize(
    "name", [name for name in FIGURES if name not in {"utilisation", "residency", "popularity"}]
)
@pytest.mark.parametrize("sizes", [(4,), (4, 8)])
@pytest.mark.parametrize("empty", ["some", "all"])
def test_empty_cells_are_survived(name: str, sizes: tuple[int, ...], empty: str) -> None:
    swept = {} if name == "ablation" else {"workload.batch_size": (1, 2)}
    frame = summary(systems=("lru", "lfu"), sizes_gib=sizes, swept=swept)
    metrics = list(frame.columns[frame.columns.get_loc("tokens_per_second") :])
    frame.loc[slice(0, 0) if empty == "some" else slice(None), metrics] = np.nan
    assert len(drawn(name, frame)[1])


@pytest.mark.parametrize("name", FIGURES)
def test_the_same_results_give_the_same_bytes(name: str) -> None:
    frame = summary(
        systems=("lru", "hobbit"), swept={} if name == "ablation" else {"workload.batch_size": (1, 2)}
    )
    pages = []
    for _ in range(2):
        figure, data = FIGURES[name](frame)
        pages.append((render(figure, "pdf"), data.to_csv(index=False)))
    assert pages[0] == pages[1]
    assert b"/Type3" not in pages[0][0]
