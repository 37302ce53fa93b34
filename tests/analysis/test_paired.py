"""Speed-ups are ratios over the same sequences; intervals are as by hand, and cover what they should."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise, product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.sparse import csgraph

from simulator.analysis import paired
from simulator.analysis.baseline import baseline_name, pairs, speed_ups
from simulator.analysis.groups import group
from simulator.analysis.latency import gaps_ms
from simulator.analysis.paired import Interval, own_ratio, per_sequence, speed_up, student_t
from simulator.analysis.units import components
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


def ratio(over: Sequence[int] | np.ndarray, under: Sequence[int] | np.ndarray) -> Interval:
    """Return the ratio of sequences that stand for themselves."""
    return paired.ratio(np.array(over), np.array(under), pd.Series(range(len(over))))


def test_a_speed_up_worked_by_hand() -> None:
    sums = per_sequence(tokens(decoding({0: [100, 300, 200, 400], 1: [50, 250, 100, 100]})))
    found = speed_up(sums, [1], [0])
    assert (found.value, found.sequences) == (1000 / 500, 4)
    cells = [(100, 50), (300, 250), (200, 100), (400, 100)]
    every = [[sum(column) for column in zip(*drawn, strict=True)] for drawn in product(cells, repeat=4)]
    logs = [math.log(over / under) for over, under in every]  # all 256 resamples
    middle = sum(logs) / 256
    error = math.sqrt(4 / 3 * sum((one - middle) ** 2 for one in logs) / 256)
    assert found.low == pytest.approx(2 * math.exp(-3.182 * error), rel=0.02)  # t of 3 degrees of freedom
    assert found.high == pytest.approx(2 * math.exp(3.182 * error), rel=0.02)


def test_a_run_against_itself_is_exactly_one() -> None:
    found = speed_up(per_sequence(tokens(decoding({0: [3, 7, 11, 13]}))), [0], [0])
    assert (found.value, found.low, found.high) == (1, 1, 1)


@pytest.mark.parametrize("freedom", [3, 4, 7, 30, 1000])
def test_student_s_t_is_that_of_scipy(freedom: int) -> None:
    assert student_t(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=0.002)


@pytest.mark.parametrize(("n", "least"), [(4, 0.92), (8, 0.92), (64, 0.93)])
def test_ninety_five_intervals_of_a_hundred_hold_the_true_ratio(n: int, least: float) -> None:
    generator = np.random.default_rng(n)
    own = generator.lognormal(0, 0.6, (1000, n)) * generator.lognormal(0, 0.1, (1000, n))
    times = own * generator.lognormal(math.log(2), 0.15, (1000, n))
    true = 2 * math.exp(0.15**2 / 2)
    found = [
        ratio((1e9 * a).astype(np.int64), (1e9 * b).astype(np.int64)) for a, b in zip(times, own, strict=True)
    ]
    assert least < np.mean([one.low <= true <= one.high for one in found]) < 0.97


times = st.lists(st.tuples(st.integers(1, 10**12), st.integers(1, 10**12)), min_size=4, max_size=30)


@settings(max_examples=50, deadline=None)
@given(times)
def test_an_interval_turned_over_is_that_of_the_slow_down(cells: list[tuple[int, int]]) -> None:
    over, under = (np.array(column) for column in zip(*cells, strict=True))
    found, turned = ratio(over, under), ratio(under, over)
    assert found.low <= found.value <= found.high
    assert found.low * turned.high == pytest.approx(1)
    assert found.high * turned.low == pytest.approx(1)
    assert ratio(over, under) == found


def test_a_ratio_that_hangs_on_one_sequence_has_no_interval() -> None:
    found = ratio([0, 0, 5, 0], [10, 10, 10, 10])
    assert (found.value, found.why) == (0.125, "nothing to count in all but one")
    assert np.isnan(ratio([0, 0, 0, 0], [1, 2, 3, 4]).low)


# -- batches --------------------------------------------------------------------------------------


def batch(n: int, size: int, steps: tuple[int, ...]) -> list[Pass]:
    """Return the passes of n sequences of which ``size`` decode at once, one for each latency."""
    groups = [range(at, min(at + size, n)) for at in range(0, n, size)]
    return [
        (len(steps) * place + step, dict.fromkeys(group, "decode"), ns + 37 * place * place)
        for place, group in enumerate(groups)
        for step, ns in enumerate(steps)
    ]


def test_a_batch_of_all_sequences_has_no_interval() -> None:
    found = speed_up(per_sequence(tokens({0: batch(6, 6, (200, 300)), 1: batch(6, 6, (100, 140))})), [1], [0])
    assert (found.value, found.sequences) == (500 / 240, 6)
    assert np.isnan([found.low, found.high]).all()
    assert found.why == "sequences share their passes"
    two = speed_up(per_sequence(tokens({0: batch(6, 3, (200, 300)), 1: batch(6, 3, (100, 140))})), [1], [0])
    assert two.why == "sequences share their passes: only 2 independent groups"


def test_batches_count_once_each() -> None:
    whole = speed_up(per_sequence(tokens({0: batch(5, 1, (200, 300)), 1: batch(5, 1, (100, 140))})), [1], [0])
    batched = speed_up(
        per_sequence(tokens({0: batch(20, 4, (200, 300)), 1: batch(20, 4, (100, 140))})), [1], [0]
    )
    assert (batched.low, batched.value, batched.high) == (whole.low, whole.value, whole.high)
    assert (batched.sequences, whole.sequences) == (20, 5)
    mixed = speed_up(per_sequence(tokens({0: batch(6, 6, (9, 9)), 1: batch(6, 1, (3, 3))})), [1], [0])
    assert mixed.why == "sequences share their passes"  # in one of the two runs


def test_sequences_that_follow_each_other_in_a_batch_are_one_group() -> None:
    chain: list[Pass] = [(i, dict.fromkeys(pair, "decode"), 10) for i, pair in enumerate(pairwise(range(9)))]
    sums = per_sequence(tokens({0: chain}))
    assert set(sums["unit"]) == {0}
    assert own_ratio(sums, [0], "hits", "lookups").why == "sequences share their passes"


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=20))
def test_components_are_those_of_scipy(pairs: list[tuple[int, int]]) -> None:
    matrix = np.zeros((13, 13))
    for one, other in pairs:
        matrix[one, other] = 1
    labels = csgraph.connected_components(matrix, directed=False)[1]
    found = components(pairs)
    assert {*found} == {node for pair in pairs for node in pair}
    for one, other in product(found, found):
        assert (found[one] == found[other]) == (labels[one] == labels[other])
    assert all(least == found[least] <= node for node, least in found.items())


def test_one_sequence_has_no_interval_and_says_why() -> None:
    found = speed_up(per_sequence(tokens(decoding({0: [100], 1: [50]}))), [1], [0])
    assert (found.value, found.sequences, found.why) == (2, 1, "one sequence")
    assert np.isnan([found.low, found.high]).all()


def test_three_sequences_have_no_interval_and_four_have_one() -> None:
    three = ratio([3, 4, 5], [1, 1, 1])
    assert (three.value, three.why) == (4, "only 3 sequences")
    assert np.isnan([three.low, three.high]).all()
    four = ratio([3, 4, 5, 8], [1, 1, 1, 1])
    assert 0 < four.low < four.value < four.high


def test_only_sequences_that_both_decoded_as_far_are_compared() -> None:
    runs = decoding({0: [100, 300, 1], 1: [50, 250]})
    runs[0].append((9, {1: "decode"}, 7))  # another token of sequence 1
    found = speed_up(per_sequence(tokens(runs)), [1], [0])
    assert (found.value, found.sequences) == (2, 1)


def test_runs_without_a_sequence_in_common_have_no_speed_up() -> None:
    apart = {0: [(0, {0: "decode"}, 5)], 1: [(0, {1: "decode"}, 5)]}
    found = speed_up(per_sequence(tokens(apart)), [1], [0])
    assert math.isnan(found.value)
    assert found.why == "no sequence in common"


def test_runs_that_decode_nothing_are_refused() -> None:
    prompts: dict[int, list[Pass]] = {0: [(0, {0: "prefill"}, 5)], 1: [(0, {0: "prefill"}, 5)]}
    groups = group(summary([{"system": "lru"}, {"system": "lfu"}]))
    with pytest.raises(InputError, match="no run has decoded tokens"):
        speed_ups(groups, tokens(prompts), "lru")


def test_all_seeds_of_a_sequence_are_drawn_together() -> None:
    sums = per_sequence(tokens(decoding({0: [10, 20, 60], 1: [30, 20, 10], 2: [5, 8, 13], 3: [7, 1, 2]})))
    found = speed_up(sums, [2, 3], [0, 1])
    assert found == ratio([40, 40, 70], [12, 9, 15])
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


def test_a_swept_policy_is_compared_with_its_first_value() -> None:
    systems = {"lfu": "lru (modified)", "lru": "lru", "fifo": "lru (modified)"}
    rows = [
        {"system": systems[name], "policies.eviction": name, "workload.batch_size": n}
        for name, n in product(systems, "12")
    ]
    groups = group(summary(rows))
    assert set(groups.runs["system"]) == {"lru"}
    assert groups.series[0] == "eviction lfu, batch size 1"
    assert baseline_name(groups, None) == "eviction lfu"
    assert pairs(groups, "eviction lfu") == {0: 0, 1: 1, 2: 0, 3: 1, 4: 0, 5: 1}
    several = group(summary([*rows, {"system": "hobbit", "workload.batch_size": "1"}]))
    assert "lru, eviction fifo, batch size 2" in several.series


def test_a_system_is_called_modified_where_no_swept_key_says_so() -> None:
    always = [{"system": "lru (modified)", "policies.eviction": name} for name in ("lfu", "random")]
    assert set(group(summary(always)).runs["system"]) == {"lru (modified)"}
    unsaid: list[dict[str, object]] = [
        {"system": "lru", "runtime.x": "1"},
        {"system": "lru (modified)", "runtime.x": "1"},
    ]
    assert group(summary(unsaid)).series == ["lru", "lru (modified)"]


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
