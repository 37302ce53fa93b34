"""Residency and popularity of experts, and tables without rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.plots import popularity, residency, utilisation
from tests.plots.details import experts_of, summary, tokens_of

pytestmark = pytest.mark.usefixtures("in_the_style_of_papers")


def test_residency_is_a_share_of_layer_steps_by_rank() -> None:
    frame = summary()
    table = experts_of(frame, layers=2, experts=3, low=False)
    table["lookups"], table["resident_steps"] = [5, 9, 5, 0, 1, 2], [10, 90, 20, 0, 50, 100]
    figure, data = residency.plot(frame, table)
    assert data["expert"].tolist() == [1, 0, 2, 2, 1, 0]
    assert data["resident_percent"].tolist() == [90, 10, 20, 100, 50, 0]
    image = figure.axes[0].images[0]
    assert image.get_array().tolist() == [[90, 10, 20], [100, 50, 0]]
    assert (image.norm.vmin, image.norm.vmax) == (0, 100)


def test_lower_precisions_have_a_panel_of_their_own_where_there_are_any() -> None:
    frame = summary(systems="abc")
    figure, _ = residency.plot(frame, experts_of(frame))
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["a", "b", "c\nmain precision", "c\nlower precision", ""]


def test_popularity_has_a_panel_for_each_recording_and_measures_skew() -> None:
    frame = summary(systems=("lru", "lfu"), models=("a", "bb"))
    figure, data = popularity.plot(frame, experts_of(frame, layers=2, experts=16))
    assert [axes.get_title() for axes in figure.axes[:4]] == ["a, a-trace", "", "bb, bb-trace", ""]
    assert data.groupby("model", sort=False)["runs"].first().tolist() == ["0 to 1", "2 to 3"]
    for _, layer in data.groupby(["model", "layer"]):
        counts = layer["lookups"].to_numpy(float)
        assert counts.tolist() == sorted(counts, reverse=True)
        assert layer["share_percent"].sum() == pytest.approx(100)
        assert layer["lookups_relative_to_uniform"].mean() == pytest.approx(1)
        assert layer["most_looked_up_tenth_percent"].iloc[0] == pytest.approx(
            100 * counts[:2].sum() / counts.sum()
        )
        p = counts[counts > 0] / counts.sum()
        assert layer["entropy_percent"].iloc[0] == pytest.approx(-100 * (p * np.log(p)).sum() / np.log(16))


def test_runs_of_a_trace_that_looked_up_others_are_apart() -> None:
    frame = summary(systems=("lru", "lfu", "fifo"))
    table = experts_of(frame)
    table.loc[table["run"] == 2, "lookups"] += 1
    figure, _ = popularity.plot(frame, table)
    assert [axes.get_title() for axes in figure.axes[:4:2]] == ["runs 0 to 1", "run 2"]


@pytest.mark.parametrize("plot", [residency.plot, popularity.plot, utilisation.plot])
def test_tables_without_rows_say_so(plot: Any, tmp_path: Path) -> None:
    frame = summary()
    table = (tokens_of if plot is utilisation.plot else experts_of)(frame).head(0)
    figure, data = plot(frame, table)
    assert "no run has" in figure.axes[0].texts[0].get_text()
    assert data.empty
    assert not data.columns.empty
