"""Speed against what is lost of the model's answers: which runs are on the front."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.plots import pareto
from tests.plots.details import small_print, summary

pytestmark = pytest.mark.usefixtures("in_the_style_of_papers")


POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=30)


@given(POINTS)
def test_the_front_is_what_no_run_dominates(points: list[tuple[int, int]]) -> None:
    def dominated(i: int) -> bool:
        speed, lost = points[i]
        return any(s >= speed and m <= lost and (s > speed or m < lost) for s, m in points)

    speeds, lost = (np.array([point[axis] for point in points], float) for axis in (0, 1))
    assert pareto.front(speeds, lost).tolist() == [not dominated(i) for i in range(len(points))]


def test_deferred_mass_is_not_lost_and_each_panel_has_its_front() -> None:
    frame = summary(systems=("lru", "lfu", "hobbit"), models=("a", "b"))
    _, data = pareto.plot(frame)
    assert data["gate_mass_lost_percent"].tolist() == pytest.approx([1, 2, 3, 1, 2, 3])
    assert data["gate_mass_deferred_percent"].tolist() == pytest.approx([5] * 6)
    assert data.groupby("model")["on_front"].any().all()
    frame.loc[0, "gate_mass_low"] = np.nan
    assert not pareto.plot(frame)[1]["on_front"][0]


def fronts(figure: Any) -> list[Any]:
    """Return the lines drawn as fronts."""
    return [line for axes in figure.axes for line in axes.lines if line.get_drawstyle() == "steps-pre"]


def test_each_cache_size_has_its_front_and_bounds_are_on_none() -> None:
    frame = summary(systems=("exact", "lossy", "slow", "oracle"), sizes_gib=(4, 8)).assign(
        tokens_per_second=[10.0, 20, 30, 40, 5, 6, 99, 99],
        gate_mass_low=[0.0, 0, 0.2, 0.2, 0, 0, 0, 0],
        knows_future=["false"] * 6 + ["true"] * 2,
    )
    figure, data = pareto.plot(frame)
    assert data["on_front"].tolist() == [True] * 4 + [False] * 4
    assert [line.get_xdata().tolist() for line in fronts(figure)] == [[10, 30], [20, 40]]
    assert len({line.get_color() for line in fronts(figure)}) == 2
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["exact", "lossy", "slow", "oracle (knows future)", "front"]
    hollow = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "white"]
    assert [line.get_xdata()[0] for line in hollow] == [99, 99]
    assert "each size has its front" in small_print(figure)
    assert "knows the future, so on no front" in small_print(figure)


def test_one_run_that_is_best_in_both_is_no_front() -> None:
    frame = summary(systems=("a", "b")).assign(tokens_per_second=[2.0, 1.0], gate_mass_low=[0.0, 0.1])
    figure, _ = pareto.plot(frame)
    assert fronts(figure) == []
    assert "No front: one run is best in both." in small_print(figure)


def test_many_settings_are_drawn_by_their_system() -> None:
    frame = summary(systems=("lru", "hobbit"), swept={"runtime.x": range(12)})
    figure, data = pareto.plot(frame)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names in (["lru", "hobbit"], ["lru", "hobbit", "front"])
    assert len(data) == 24
    assert "the CSV tells them apart" in small_print(figure)
