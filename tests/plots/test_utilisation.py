"""Busy links and units over time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import InputError
from simulator.plots import utilisation
from simulator.plots.chosen import choose
from simulator.plots.style import STYLES, styled
from tests.plots.details import FIGURES, GIB, small_print, summary, tokens_of

pytestmark = pytest.mark.usefixtures("in_the_style_of_papers")


LINKS = ("busy_ssd_to_cpu_ns", "busy_cpu_to_gpu_ns")
PASSES = st.lists(
    st.tuples(st.integers(1, 10**9), st.floats(0, 1), st.integers(0, 10**6)), min_size=1, max_size=40
)


@given(PASSES, st.integers(1, 120))
@settings(deadline=None)
def test_bins_conserve_busy_time(passes: list[tuple[int, float, int]], bins: int) -> None:
    rows, start = [], 0
    for index, (length, share, gap) in enumerate(passes):
        start += gap
        busy = int(share * length)
        row = {"pass": index, "phase": "decode", "start_ns": start, "latency_ns": length, "dense_ns": busy}
        rows += 2 * [row | {"expert_compute_ns": 0, "busy_cpu_ns": length - busy, LINKS[1]: busy}]
        start += length
    found = utilisation.utilisation(pd.DataFrame(rows), bins)
    width = 1e6 * (found["bin_end_ms"] - found["bin_start_ms"])
    once = rows[::2]
    for column, name in {
        "main_unit": "dense_ns",
        "cpu_to_gpu": LINKS[1],
        "cpu_helper": "busy_cpu_ns",
    }.items():
        share = found[f"{column}_busy_percent"]
        assert (share / 100 * width).sum() == pytest.approx(
            sum(row[name] for row in once), rel=1e-9, abs=1e-3
        )
        assert -1e-6 < share.min() <= share.max() < 100 + 1e-6


def test_a_pass_over_a_border_counts_on_both_sides() -> None:
    row = {"expert_compute_ns": 0, "busy_cpu_ns": 0, LINKS[0]: None}
    rows = [
        row | {"pass": 0, "phase": "prefill", "start_ns": 0, "latency_ns": 300, "dense_ns": 300},
        row | {"pass": 1, "phase": "decode", "start_ns": 300, "latency_ns": 100, "dense_ns": 0},
    ]
    found = utilisation.utilisation(pd.DataFrame(rows), 2)
    assert found["main_unit_busy_percent"].tolist() == found["prefill_percent"].tolist() == [100, 50]
    assert found["ssd_to_cpu_busy_percent"].isna().all()


def test_a_link_that_no_run_has_is_no_strip_and_prompts_are_marked() -> None:
    frame = summary(systems=("lru", "lfu"))
    table = tokens_of(frame).assign(**{LINKS[0]: np.nan})
    figure, data = utilisation.plot(frame, table)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["main unit", "CPU to GPU"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["prompt passes"]
    assert len(data) == 2 * 120
    assert "not shown" not in small_print(figure)
    with pytest.raises(InputError, match="no column 'busy_cpu_ns'"):
        utilisation.plot(frame, table.drop(columns="busy_cpu_ns"))


def test_a_link_that_is_idle_in_every_run_has_no_strip_and_is_named() -> None:
    frame = summary(systems=("lru", "lfu"))
    table = tokens_of(frame)
    table[LINKS[0]] = table["latency_ns"] // 200
    figure, data = utilisation.plot(frame, table)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["main unit", "CPU to GPU"]
    assert "Busy for at most 1 % of any run, so not shown: SSD to CPU." in small_print(figure)
    assert data["ssd_to_cpu_busy_percent"].mean() == pytest.approx(0.5, abs=0.01)
    table.loc[table["run"] == 1, LINKS[0]] = table["latency_ns"] // 2  # one run that uses it is enough
    figure, _ = utilisation.plot(frame, table)
    assert "SSD to CPU" in [label.get_text() for label in figure.axes[0].get_yticklabels()]


@pytest.mark.parametrize("name", ["utilisation", "residency"])
def test_a_slide_has_fewer_runs_than_a_page(name: str) -> None:
    frame = summary(systems=[*"abcdefghijkl"])
    page = FIGURES[name](frame)[1]["run"].nunique()
    with styled("talk"):
        figure, data = FIGURES[name](frame)
    assert figure.get_size_inches()[1] <= STYLES["talk"].highest
    shown = data["run"].nunique()
    assert 1 < shown < page
    assert f"Shown: {shown} of 12 runs" in small_print(figure)


def test_the_title_of_a_share_is_short() -> None:
    frame = summary(systems=("lru", "lfu"), sizes_gib=(4, 8))
    frame["memory.gpu_expert_cache.fraction"] = np.where(
        frame["gpu_expert_cache_bytes"] == 4 * GIB, 0.125, 0.5
    )
    figure, _ = FIGURES["residency"](frame)
    assert figure.axes[0].get_title() == "lru\nGPU cache 12.5 %"


@pytest.mark.parametrize(
    ("case", "selection"),
    [
        ({"systems": "abcdef", "sizes_gib": (1, 2)}, "all runs"),
        ({"systems": "abcdef", "sizes_gib": (1, 2), "seeds": (0, 1)}, "12 of 24 runs (first seed)"),
        ({"systems": "abcde", "sizes_gib": (1, 2, 3)}, "10 of 15 runs (smallest and largest cache)"),
        ({"systems": "abcdefgh", "sizes_gib": (1, 2)}, "8 of 16 runs (smallest cache, GPU cache 1 GiB)"),
        ({"systems": [*"abcdefghijklmn"]}, "12 of 14 runs (the first 12)"),
    ],
)
def test_of_more_runs_than_there_is_room_for_the_rule_is_said(case: dict[str, Any], selection: str) -> None:
    chosen = choose(summary(**case), 12)
    assert chosen.selection == selection
    assert len(chosen.titles) == len(chosen.identity) == int(selection.replace("all runs", "12").split()[0])
    assert len({tuple(title) for title in chosen.titles.values()}) == len(chosen.titles)


@pytest.mark.parametrize("name", ["utilisation", "residency"])
def test_runs_that_are_not_shown_are_said_in_the_figure_and_its_data(name: str) -> None:
    figure, data = FIGURES[name](summary(systems=[*"abcdefghijklmn"]))
    assert set(data["selection"]) == {"12 of 14 runs (the first 12)"}
    assert data["run"].nunique() == 12
    assert figure.legends[-1].get_title().get_text().endswith("Shown: 12 of 14 runs (the first 12).")


def test_passes_that_take_no_time_are_none() -> None:
    frame = summary()
    figure, _ = utilisation.plot(frame, tokens_of(frame).assign(latency_ns=0))
    assert figure.axes[0].texts[0].get_text() == "no run has passes"
