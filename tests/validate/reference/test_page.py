"""From the run and its simulation to errors, and to the page that says where they are from."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from simulator.calibrate.system import this_system
from simulator.machine.hardware import load_hardware
from simulator.validate.reference import report, write
from simulator.validate.reference.labels import label_lines
from simulator.validate.reference.run import Settings, TokenLog
from simulator.validate.reference.setup import Setup
from simulator.validate.reference.simulate import Overhead, decoded, fit_overhead, simulate
from tests.validate.reference.made_up import SHAPE, K, L, a_trace, made_up, words


def test_the_overhead_is_found_again() -> None:
    logs = [
        TokenLog(wall_ns=1000 + 50 * misses + 7, dense_ns=7, lookups=20, hits=20 - misses)
        for misses in range(9)
    ]
    assert fit_overhead(logs) == Overhead(1000, 50)


def test_tokens_with_many_misses_are_kept_and_interrupted_ones_are_not() -> None:
    """Left out is what lies high above the line, not what is high up on it."""
    rng = np.random.default_rng(0)
    logs = []
    for i in range(2000):
        misses = 19 if i % 10 == 0 else int(rng.integers(0, 4))  # few tokens say what a miss costs
        wall = 10_000 + 50 * misses + int(rng.normal(0, 200)) + (20_000 if i % 50 == 3 else 0)
        logs.append(TokenLog(wall_ns=wall, lookups=20, hits=20 - misses))
    found = fit_overhead(logs)
    assert found.per_miss == pytest.approx(50, rel=0.1)
    assert found.per_pass == pytest.approx(10_000, rel=0.01)


def test_an_overhead_that_falls_with_misses_is_one_of_passes() -> None:
    logs = [TokenLog(wall_ns=1000 - 50 * misses, lookups=20, hits=20 - misses) for misses in range(9)]
    assert fit_overhead(logs) == Overhead(800, 0)


def test_decoded_takes_whole_decoded_tokens_and_the_sizes_of_the_stand_in() -> None:
    trace = a_trace(12)
    trace.experts[7, 1] = -1
    found = decoded(trace, SHAPE, 4)
    assert found.position.tolist() == [5, 6, 8, 9]
    assert found.header.expert_bytes == (12 * 1024,) * L
    assert found.header.dense_bytes == (16 * 1024,) * L
    assert found.predicted[0].shape == (4, L, K)


def test_the_simulated_time_is_that_of_the_profile() -> None:
    """One token, all misses, two lanes: worked by hand from the profile's own numbers."""
    trace = decoded(a_trace(), SHAPE, 1)
    hardware = load_hardware("oneplus-15r")
    (record,) = simulate(trace, SHAPE, Settings(36, 1, prefetch=False), hardware, Overhead(1000, 10))
    assert record.hits == 0
    assert record.overhead_ns == 1000 + 10 * L * K
    assert record.expert_ns == L * K * -(-SHAPE.expert_bytes * 10**9 // 12_193_600_000)
    one = (SHAPE.expert_bytes + 4096) / 0.8 + SHAPE.expert_bytes / 4.76
    assert sum(record.stall_ns) + record.expert_ns * (K - 1) / K == pytest.approx(L * K * one, rel=0.1)


def test_errors_are_those_of_wall_time() -> None:
    row = write._row("cache 50%, on demand", made_up((110, 160)))
    assert row["median"] == pytest.approx(0.15)
    assert row["bias"] == pytest.approx(-0.1)
    assert row["hits_identical"]
    assert made_up((110, 160))["predicted_stall_ns"].tolist() == [9, 9]
    assert made_up((110, 160))["measured_overhead_ns"].tolist() == [90, 190]


@pytest.mark.parametrize(
    ("wall", "hits", "says"),
    [
        ((100, 200), (3, 3), "within"),
        ((130, 260), (3, 3), "median above 15%; total off by more than 10%"),
        ((100, 200), (3, 4), "hits differ"),
    ],
)
def test_the_page_says_where_a_run_misses(wall: tuple[int, int], hits: tuple[int, int], says: str) -> None:
    title = "cache 50%, on demand"
    found = made_up(wall, hits)
    given = Setup(Path(), a_trace(), profile=load_hardware("oneplus-15r"))
    page = report.page([write._row(title, found)], {title: found}, given, a_trace())
    assert f"| {says} |" in page
    assert "the profile oneplus-15r" in words(page)
    assert "reads fp32 experts of 1.50 MiB with O_DIRECT" in words(page)


def test_the_page_counts_the_runs_that_are_within() -> None:
    walls = {"a": (100, 200), "b": (112, 224), "c": (130, 260)}
    tables = {title: made_up(wall) for title, wall in walls.items()}
    rows = [write._row(title, found) for title, found in tables.items()]
    page = report.page(rows, tables, Setup(Path(), a_trace()), a_trace())
    assert "1 of 3 runs within 15% median and 10% total; median of medians 12.0%, worst 30.0%." in page


def test_a_run_whose_hits_differ_is_not_within() -> None:
    title, found = "cache 50%, on demand", made_up((100, 200), (3, 4))
    page = report.page([write._row(title, found)], {title: found}, Setup(Path(), a_trace()), a_trace())
    assert "0 of 1 runs within" in page


def test_the_page_says_what_was_calibrated_when_and_on_what() -> None:
    title, found = "cache 50%, on demand", made_up((100, 200))
    rows, tables = [write._row(title, found)], {title: found}
    fresh = report.page(rows, tables, Setup(Path(), a_trace()), a_trace())
    mine = load_hardware("oneplus-15r").model_copy(
        update={"name": "mine", "notes": "Measured by moesim calibrate on 2026-01-02 (moesim 1)."}
    )
    given = report.page(rows, tables, Setup(Path(), a_trace(), profile=mine, repeats=5), a_trace())
    assert fresh.splitlines()[0] == "## Reference run: a drive and a CPU, calibrated within the run"
    assert (
        given.splitlines()[0] == "## Reference run: a drive and a CPU, profile mine, measured on 2026-01-02"
    )
    assert "came out 17 to 22 % too slow" in words(fresh)
    assert "17 to 22" not in given
    assert "`moesim validate reference --profile mine --repeats 5` of moesim" in words(given)
    for page in (fresh, given):
        system = this_system()
        assert f"on {datetime.now(UTC):%Y-%m-%d}, on {system.processor}" in words(page)
        assert system.kind in words(page)
        assert "computes, but moves nothing" in words(page)


def test_errors_of_labels_are_told_apart_before_they_cancel() -> None:
    """Dense 9 of 10 in each; 9 ns of stall, and 0 of overhead where 90 and 190 were."""
    tables = {"a": made_up((110, 160)), "b": made_up((110, 160))}
    tables["b"]["predicted_dense_ns"] = 12
    tables["b"]["predicted_overhead_ns"] = tables["b"]["measured_overhead_ns"] + 42
    text = "\n".join(label_lines(tables))
    # dense: -10 % and +20 %; overhead: -100 % and 84 of 280 = +30 %
    assert "| dense | 6.7% | +5.0% | 1 of 2 |" in text
    assert "| overhead | 93.3% | -35.0% | 1 of 2 |" in text
    assert "| experts | 0.0% | +0.0% | 0 of 2 |" in text
    # of 300 ns of wall: a 2 + 18 + 280 = 100 %, b 4 + 18 + 84 = 35.3 %; the totals are 30 off in both
    assert "add up to 67.7% of wall time in the median run (100.0% in the worst)" in words(text)
    assert "totals are off by 10.0% (10.0%)" in words(text)


def test_repeats_alternate_between_the_settings() -> None:
    once = list(Setup(Path(), a_trace(), sizes=(0.25, 0.5)).runs())
    assert once[1] == ("cache 25%, prefetch", "cache-25-prefetch", Settings(9, 2, prefetch=True))
    thrice = list(Setup(Path(), a_trace(), sizes=(0.25, 0.5), repeats=3).runs())
    assert [title for title, _, _ in thrice[:5]] == [
        "cache 25%, on demand #1",
        "cache 25%, prefetch #1",
        "cache 50%, on demand #1",
        "cache 50%, prefetch #1",
        "cache 25%, on demand #2",
    ]
    assert thrice[4][1] == "cache-25-on-demand-2"
    assert [s for _, _, s in thrice] == [s for _, _, s in once] * 3
