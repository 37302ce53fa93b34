"""The distribution of gaps between tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from simulator.errors import InputError
from simulator.plots import FIGURES
from tests.plots.speeds import LONG, plotted, results, shown, summary, tokens


def test_the_latency_cdf_shows_percentiles_of_the_gaps(tmp_path: Path) -> None:
    frame = summary(systems=("lru", "lfu"))
    data = shown(results(tmp_path, frame), "latency-cdf")
    table = tokens(frame)
    own = table[(table["run"] == 1) & (table["phase"] == "decode")]["latency_ns"] / 1e6
    for mark in (50, 95, 99):
        row = data[(data["system"] == "lfu") & (data["percentile"] == mark)]
        assert row["latency_ms"].item() == pytest.approx(np.percentile(own, mark))
        assert row["decoded_tokens"].item() == 48


@pytest.mark.parametrize(("fold", "scale"), [(30, "log"), (3, "linear")])
def test_a_wide_span_of_latencies_is_logarithmic(fold: int, scale: str) -> None:
    frame = summary(systems=("lru", "lfu"))
    figure, _ = FIGURES["latency-cdf"].plot(frame, tokens(frame, fold))
    assert figure.axes[0].get_xscale() == scale


def test_no_more_curves_are_drawn_than_can_be_told_apart() -> None:
    figure, data = plotted("latency-cdf", summary(systems=LONG))
    looks = {(line.get_linestyle(), line.get_marker()) for line in figure.axes[0].lines}
    assert len(looks) == len(figure.axes[0].lines) == 6
    assert figure.legends[0].get_title().get_text().startswith("6 of 12")
    assert data["system"].nunique() == 12


def test_results_without_decoded_tokens_have_no_latency_cdf() -> None:
    frame = summary()
    prompts = tokens(frame).query("phase == 'prefill'")
    with pytest.raises(InputError, match="no decoded tokens"):
        FIGURES["latency-cdf"].plot(frame, prompts)
