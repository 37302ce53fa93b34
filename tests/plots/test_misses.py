"""What misses cost, and what prefetches are worth."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.plots import miss_penalty, prefetch_quality
from tests.plots.details import summary

pytestmark = pytest.mark.usefixtures("in_the_style_of_papers")


def test_waste_is_a_share_of_bytes_towards_the_main_unit_and_idle_systems_are_named() -> None:
    figure, data = prefetch_quality.plot(summary(systems=("ahead", "idle")))
    note = figure.legends[0].get_title().get_text()
    assert data["wasted_percent"].tolist() == pytest.approx([10, np.nan], nan_ok=True)
    assert data["late_percent"].tolist() == pytest.approx([10, np.nan], nan_ok=True)
    assert note.replace("\n", " ").endswith("bytes loaded. No prefetches, so not shown: idle.")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["ahead"]
    assert "late lookups: late / all lookups" in note.replace("\n", " ")


def test_a_single_system_that_prefetches_is_named_among_others() -> None:
    figure, _ = prefetch_quality.plot(summary(systems=("ahead", "idle"), sizes_gib=(4, 8)))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ahead"]
    alone, _ = prefetch_quality.plot(summary(systems=("ahead",), sizes_gib=(4, 8)))
    assert [text.get_text() for legend in alone.legends for text in legend.get_texts()] == []


def test_no_prefetches_at_all_are_said() -> None:
    figure, _ = prefetch_quality.plot(summary().assign(started_prefetches=0.0))
    assert figure.axes[0].texts[0].get_text() == "no run has prefetches"


def test_miss_penalty_is_drawn_as_the_csv_says() -> None:
    figure, data = miss_penalty.plot(summary(systems=("lru", "lfu"), sizes_gib=(8, 4)))
    lines = [line.get_ydata().tolist() for line in figure.axes[0].lines]
    assert lines == [
        own["miss_penalty_experts_per_lookup"].tolist() for _, own in data.groupby("system", sort=False)
    ]
    figure, data = miss_penalty.plot(summary(systems=("lru", "lfu")))
    widths = [patch.get_width() for patch in figure.axes[0].patches]
    assert widths == data["miss_penalty_experts_per_lookup"].tolist()
