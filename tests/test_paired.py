"""Speed-ups are ratios over the same sequences; their intervals agree with enumeration and with SciPy."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from simulator.analysis import paired
from simulator.analysis.baseline import baseline_name, pairs, speed_ups
from simulator.analysis.groups import group
from simulator.analysis.latency import gaps_ms
from simulator.analysis.paired import RESAMPLES, own_ratio, per_sequence, ratio, resampled, speed_up
from simulator.errors import InputError

Pass = tuple[int, dict[int, str], int]
"""Its number, the phase of each of its sequences, and its latency in ns."""


def tokens(runs: dict[int, list[Pass]]) -> pd.DataFrame:
    """Return a table of tokens; a pass looks 10 experts up and finds as many as its number says."""
    rows = [
        {
            "run": run,
            "pass": number,
            "sequence": sequence,
            "phase": phase,
            "tokens": 1 if phase == "decode" else 5,
            "start_ns": 1000 * number,
            "latency_ns": latency,
            "lookups": 10,
            "hits": number,
        }
        for run, passes in runs.items()
        for number, phases, latency in passes
        for sequence, phase in phases.items()
    ]
    return pd.DataFrame(rows)


def decoding(times: dict[int, list[int]]) -> dict[int, list[Pass]]:
    """Return runs that decode one token a sequence, in these times by run."""
    return {run: [(i, {i: "decode"}, ns) for i, ns in enumerate(of)] for run, of in times.items()}


def test_a_speed_up_worked_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paired, "FEWEST", 2)
    sums = per_sequence(tokens(decoding({0: [100, 300], 1: [50, 250]})))
    found = speed_up(sums, [1], [0])
    assert (found.value, found.sequences) == (400 / 300, 2)
    assert (found.low, found.high) == (300 / 250, 100 / 50)  # each alone is a quarter of all resamples


def test_a_run_against_itself_is_exactly_one() -> None:
    found = speed_up(per_sequence(tokens(decoding({0: [3, 7, 11, 13]}))), [0], [0])
    assert (found.value, found.low, found.high) == (1, 1, 1)


def test_resamples_of_three_sequences_come_as_often_as_enumeration_says() -> None:
    over, under = np.array([70, 20, 30]), np.array([10, 11, 13])
    drawn = product(range(3), repeat=3)
    exact = Counter(Fraction(int(over[list(i)].sum()), int(under[list(i)].sum())) for i in drawn)
    found = Counter(resampled(over, under).tolist())
    assert set(found) == {float(value) for value in exact}
    for value, times in exact.items():
        p = times / 27
        error = np.sqrt(p * (1 - p) / RESAMPLES)
        assert found[float(value)] / RESAMPLES == pytest.approx(p, abs=4 * error)


@pytest.mark.parametrize("n", [5, 40, 300])
def test_the_interval_is_that_of_scipy(n: int) -> None:
    generator = np.random.default_rng(n)
    over = generator.integers(1, 10**9, n)
    under = over // 2 + generator.integers(1, 10**9, n)
    found = ratio(over, under)
    other = stats.bootstrap(
        (over, under),
        lambda a, b, axis=-1: a.sum(axis=axis) / b.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=20_000,
        method="percentile",
        random_state=np.random.default_rng(1),
    ).confidence_interval
    width = other.high - other.low
    assert found.low == pytest.approx(other.low, abs=0.04 * width)
    assert found.high == pytest.approx(other.high, abs=0.04 * width)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 10**12), st.integers(1, 10**12)), min_size=4, max_size=30))
def test_an_interval_lies_within_the_sequences_own_ratios_and_is_the_same_each_time(
    times: list[tuple[int, int]],
) -> None:
    over, under = (np.array(column) for column in zip(*times, strict=True))
    found = ratio(over, under)
    own = over / under
    assert own.min() * (1 - 1e-12) <= found.low <= found.high <= own.max() * (1 + 1e-12)
    assert own.min() * (1 - 1e-12) <= found.value <= own.max() * (1 + 1e-12)
    assert ratio(over, under) == found


def test_one_sequence_has_no_interval_and_says_why() -> None:
    found = speed_up(per_sequence(tokens(decoding({0: [100], 1: [50]}))), [1], [0])
    assert (found.value, found.sequences, found.why) == (2, 1, "one sequence")
    assert np.isnan([found.low, found.high]).all()


def test_three_sequences_have_no_interval_and_four_have_one() -> None:
    three = ratio(np.array([3, 4, 5]), np.array([1, 1, 1]))
    assert (three.value, three.why) == (4, "only 3 sequences")
    assert np.isnan([three.low, three.high]).all()
    four = ratio(np.array([3, 4, 5, 8]), np.array([1, 1, 1, 1]))
    assert 3 < four.low < four.value < four.high < 8  # neither extreme


def test_only_sequences_that_both_decoded_as_far_are_compared() -> None:
    runs = decoding({0: [100, 300, 1], 1: [50, 250]})
    runs[0].append((9, {1: "decode"}, 7))  # another token of sequence 1
    found = speed_up(per_sequence(tokens(runs)), [1], [0])
    assert (found.value, found.sequences) == (2, 1)


def test_runs_without_a_sequence_in_common_are_refused() -> None:
    apart = {0: [(0, {0: "decode"}, 5)], 1: [(0, {1: "decode"}, 5)]}
    with pytest.raises(InputError, match="no sequence in common"):
        speed_up(per_sequence(tokens(apart)), [1], [0])
    prompts: dict[int, list[Pass]] = {0: [(0, {0: "prefill"}, 5)], 1: [(0, {0: "prefill"}, 5)]}
    with pytest.raises(InputError, match="no sequence in common"):
        speed_up(per_sequence(tokens(prompts)), [1], [0])


def test_all_seeds_of_a_sequence_are_drawn_together() -> None:
    sums = per_sequence(tokens(decoding({0: [10, 20, 60], 1: [30, 20, 10], 2: [5, 8, 13], 3: [7, 1, 2]})))
    found = speed_up(sums, [2, 3], [0, 1])
    assert found == ratio(np.array([40, 40, 70]), np.array([12, 9, 15]))
    assert found.sequences == 3


def test_a_batch_s_pass_counts_once_whatever_its_rows() -> None:
    three = {0: "decode", 1: "decode", 2: "prefill"}
    sums = per_sequence(tokens({0: [(0, {0: "prefill", 1: "prefill"}, 99), (7, three, 101)]}))
    assert sums["decode_ns"].tolist() == [50, 51, 0]
    assert sums["decoded_tokens"].tolist() == [1, 1, 0]
    assert (sums["lookups"].sum(), sums["hits"].sum()) == (20, 7)
    rate = own_ratio(sums, [0], "decoded_tokens", "decode_ns", 10**9)
    assert rate.value == pytest.approx(2e9 / 101)


@pytest.mark.parametrize("name", ["latency_ns", "phase", "lookups"])
def test_a_table_that_lacks_a_column_is_refused(name: str) -> None:
    table = tokens(decoding({0: [1]}))
    with pytest.raises(InputError, match=f"column '{name}' is missing"):
        per_sequence(table.drop(columns=name))
    if name != "phase":
        with pytest.raises(InputError, match=f"column '{name}' holds more than integers"):
            per_sequence(table.astype({name: str}))


def test_gaps_reach_from_the_end_of_the_last_pass_of_the_sequence() -> None:
    runs: dict[int, list[Pass]] = {
        3: [(0, {0: "prefill"}, 400), (1, {1: "prefill"}, 300), (2, {0: "decode", 1: "decode"}, 500)],
        4: [(0, {0: "decode"}, 250), (1, {0: "decode"}, 100)],
    }
    found = gaps_ms(tokens(runs))
    assert (1e6 * found[3]).tolist() == pytest.approx([2500 - 400, 2500 - 1300])
    assert (1e6 * found[4]).tolist() == pytest.approx([250, 1100 - 250])


def summary(rows: list[dict[str, object]]) -> pd.DataFrame:
    """Return a summary with these swept keys and systems."""
    fixed = {
        "model": "m",
        "hardware": "h",
        "trace": "t",
        "system": "lru",
        "gpu_expert_cache_bytes": 4.0 * 2**30,
    }
    swept = {key for row in rows for key in row if "." in key}
    cells = [
        {
            "run": float(i),
            **fixed,
            "seed": 0.0,
            **dict.fromkeys(sorted(swept), ""),
            **row,
            "tokens_per_second": 1.0,
        }
        for i, row in enumerate(rows)
    ]
    return pd.DataFrame(cells)


def test_runs_are_compared_at_the_same_point_of_a_sweep() -> None:
    sizes = [4.0 * 2**30, 8.0 * 2**30]
    rows = [
        {"system": system, "gpu_expert_cache_bytes": size, "seed": seed}
        for system, size, seed in product(("lru", "lfu"), sizes, (0.0, 1.0))
    ]
    groups = group(summary(rows))
    assert baseline_name(groups, None) == "lru"
    assert pairs(groups, "lru") == {0: 0, 1: 1, 2: 2, 3: 3, 4: 0, 5: 1, 6: 2, 7: 3}


def test_a_system_is_compared_with_the_same_setting_and_else_with_the_only_run() -> None:
    rows = [{"system": system, "runtime.overlap": on} for system, on in product(("lru", "lfu"), ("a", "b"))]
    assert pairs(group(summary(rows)), "lru") == {0: 0, 1: 1, 2: 0, 3: 1}
    alone = [{"system": "lru"}, *({"system": "hobbit", "policies.t": t} for t in ("1", "2"))]
    assert pairs(group(summary(alone)), "lru") == {0: 0, 1: 0, 2: 0}
    with pytest.raises(InputError, match=r"several runs of 'hobbit'.*hobbit, t 1, hobbit, t 2"):
        pairs(group(summary(alone)), "hobbit")
    assert pairs(group(summary(alone)), "hobbit, t 2") == {0: 2, 1: 2, 2: 2}


def test_other_workloads_are_never_compared() -> None:
    rows = [
        {"system": system, "workload.batch_size": n}
        for system, n in [("lru", "1"), ("lru", "4"), ("lfu", "4")]
    ]
    assert pairs(group(summary(rows)), "lru") == {0: 0, 1: 1, 2: 1}
    alone = [{"workload.batch_size": n} for n in ("1", "4")]
    with pytest.raises(InputError, match="no run can be compared"):
        pairs(group(summary(alone)), "batch size 1")


def test_an_unknown_baseline_is_refused_with_a_guess() -> None:
    groups = group(summary([{"system": "lru"}, {"system": "lfu"}]))
    with pytest.raises(InputError, match=r"no run is of 'lfuu'; did you mean 'lfu'\?"):
        baseline_name(groups, "lfuu")


def test_a_point_that_the_baseline_was_not_run_at_has_no_speed_up() -> None:
    rows = [{"system": "lru"}, {"system": "lfu"}, {"system": "lfu", "gpu_expert_cache_bytes": 8.0 * 2**30}]
    table = tokens(decoding({0: [10, 20], 1: [5, 20], 2: [1, 1]}))
    found = speed_ups(group(summary(rows)), table, "lru")
    assert found["speed_up"].tolist()[:2] == [1, 30 / 25]
    assert np.isnan(found["speed_up"].tolist()[2])
    assert found["speed_up_why"].tolist()[2] == "no baseline"
