"""Space worked out by hand: who leaves, when, and what an exclusive pair writes back."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest

from simulator.engine.plan import LinkPlan, Overhead, RuntimePlan
from tests.engine.by_hand import DOWN, GB, SSD, UP, Run, ends, scenario


def test_the_least_recent_expert_leaves_dram(run: Run) -> None:
    # GPU 0, DRAM for two: 0 and 1 come from the SSD, so does 2, for which 0 leaves.
    r = run(scenario([[0]], [[1]], [[2]], [[0]], links=(SSD, UP, DOWN), gpu=0, cpu=20))
    assert r.found_in_dram == (0, 0, 0, 0)
    assert r.resident == (frozenset(), frozenset({2, 0}))
    assert ends(r) == [25, 50, 75, 100]


@pytest.mark.parametrize(("evict", "peak"), [("on_insert", 20), ("after_event", 40)])
def test_the_peak_of_an_event(run: Run, evict: Literal["on_insert", "after_event"], peak: int) -> None:
    r = run(scenario([[0, 1]], [[2, 3]], gpu=20, runtime=RuntimePlan(evict=evict)))
    assert r.peak_bytes == (peak,)
    assert r.resident == (frozenset({2, 3}),)
    assert ends(r) == [25, 50]


def test_after_event_keeps_a_demand_above_the_capacity(run: Run) -> None:
    r = run(scenario([[0, 1, 2]], [[3]], gpu=20, runtime=RuntimePlan(evict="after_event")))
    # Nobody can go in pass 1. In pass 2 there are 40 bytes; the two least recent go.
    assert r.peak_bytes == (40,)
    assert r.resident == (frozenset({2, 3}),)


def test_an_exclusive_pair_writes_victims_back(run: Run) -> None:
    down = replace(DOWN, bytes_per_s=GB // 2)
    runtime = RuntimePlan(exclusive=True)
    r = run(scenario([[0]], [[1]], [[0]], links=(UP, down), gpu=10, runtime=runtime))
    # Pass 1: 15. Pass 2: 1 moves 15..25 while 0 is written back 15..35; ends at 30.
    # Pass 3: 0 is on its way down until 35, up 35..45, computed at 50. 1 is written back 35..55: not counted.
    assert ends(r) == [15, 30, 50]
    assert r.passes[2].labels == {"stall_up": 15, "expert_compute": 5}
    assert r.link_bytes == {"up": 30, "down": 10}


def test_an_exclusive_pair_holds_an_expert_once(run: Run) -> None:
    runtime = RuntimePlan(exclusive=True)
    r = run(scenario([[0]], [[1]], links=(SSD, UP, DOWN), gpu=10, cpu=20, runtime=runtime))
    # 0: 0..10 to DRAM, 10..20 to the GPU, where it is alone then. 1 the same from 25; 0 goes back to DRAM.
    assert ends(r) == [25, 50]
    assert r.resident == (frozenset({1}), frozenset({0}))
    assert r.link_bytes == {"ssd": 20, "up": 20, "down": 10}
    assert r.peak_bytes == (10, 20)


def test_a_prefetch_that_starts_in_the_overhead_leaves_the_victims_of_the_event(run: Run) -> None:
    down = replace(DOWN, lanes=2, bytes_per_s=2 * GB, lane_bytes_per_s=GB)
    runtime = RuntimePlan(exclusive=True, overhead=Overhead(miss_ns=10))
    r = run(scenario([[0]], [[3]], links=(UP, down), gpu=20, wishes={0: ((1, 1), (2, 3))}, runtime=runtime))
    # Pass 1: overhead until 10, 0 lands at 20, computed until 25. 1 starts at 20.
    # Pass 2: 3 takes the place of 0, in an overhead 25..35. At 30 1 has landed, and 2 starts in its place:
    # 1 goes down at once, 30..40; 0 goes down 35..45. 3 follows 2: 40..50, computed until 55.
    assert ends(r) == [25, 55]
    assert r.passes[1].labels == {"overhead": 10, "stall_up": 15, "expert_compute": 5}
    assert r.passes[1].busy == {"up": 5 + 10 + 10, "down": 15}


@pytest.mark.parametrize("links", [(UP, DOWN), (DOWN, UP)])
def test_a_victim_of_a_prefetch_is_written_back_at_once(run: Run, links: tuple[LinkPlan, ...]) -> None:
    runtime = RuntimePlan(exclusive=True)
    r = run(
        scenario(
            [[0]],
            [[1]],
            links=links,
            gpu=20,
            expert_ns=0,
            dense=(0, 0, 0, 0, 10),
            wishes={1: ((2, 1),)},
            runtime=runtime,
        )
    )
    # The prefetch of 2 starts at 30, when 1 has landed; 0 leaves for it and is down at 40, as the run ends.
    assert ends(r) == [20, 40]
    assert r.link_bytes == {"up": 30, "down": 10}
