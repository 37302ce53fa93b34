"""Replayed hits against an oracle that shares nothing with them, lookup for lookup."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.engine.replay import Replay, replay
from tests.policies import oracle
from tests.policies.tools import bound, context, demands, hits

POLICIES = {
    "lru": "lru",
    "fifo": "fifo",
    "lfu": "lfu",
    "perfect-lfu": {"name": "lfu", "survive_eviction": True},
    "belady": "belady",
}


def replayed(spec, events, layers, pools, sizes, evict, admission="always"):
    known = context(events, n_layers=len(sizes), n_experts=6)
    run = Replay(
        pools, sizes, lambda: bound("eviction", spec, known), evict, bound("admission", admission, known)
    )
    flags = [run.event(index, *step) for index, step in enumerate(zip(layers, events, strict=True))]
    return flags, run


@pytest.mark.parametrize("evict", ["on_insert", "after_event"])
@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=300)
@given(demand=demands())
def test_flags_agree_with_the_oracle(policy, evict, demand):
    flags, run = replayed(POLICIES[policy], *demand, evict)
    assert flags == oracle.flags(policy, *demand, after_event=evict == "after_event")
    if evict == "on_insert":
        assert run.peak_bytes <= sum(capacity for capacity, _ in demand[2])


@settings(max_examples=300)
@given(demand=demands())
def test_bypass_agrees_with_the_oracle(demand):
    flags, _ = replayed("belady", *demand, "on_insert", "belady-bypass")
    assert flags == oracle.flags("belady", *demand, bypass=True)


@given(demand=demands(), evict=st.sampled_from(["on_insert", "after_event"]))
def test_replay_counts_the_flags(demand, evict):
    events, layers, pools, sizes = demand
    flags, _ = replayed("lru", *demand, evict)
    counted = replay(events, layers, pools, sizes, lambda: bound("eviction", "lru", context()), evict=evict)
    assert counted == [sum(found) for found in flags]


def test_lookups_see_the_state_before_the_event():
    # taken one by one, 2 would evict 1 and 1 would miss
    assert hits("lru", [[1], [2, 1], [1]], 1) == [0, 1, 1]


def test_a_demand_larger_than_the_pool_is_streamed():
    assert hits("lru", [[1, 2, 3], [1], [2], [3]], 2) == [0, 1, 1, 0]


def test_after_event_exceeds_the_capacity_and_says_so():
    known = context([[1, 2, 3], [3]])
    run = Replay([(2, [0])], [10], lambda: bound("eviction", "lru", known), "after_event")
    assert run.event(0, 0, [1, 2, 3]) == [False] * 3
    assert (run.used_bytes, run.peak_bytes) == (30, 30)  # 2 bytes, but the event spares its own
    assert run.event(1, 0, [3]) == [True]
    assert (run.used_bytes, run.peak_bytes) == (10, 30)  # a hit, yet room is made


def test_a_layer_step_without_demand_is_no_event():
    run = Replay([(1, [0])], [1], lambda: bound("eviction", "lru", context()), "after_event")
    run.event(0, 0, [1, 2])
    assert run.event(1, 0, []) == []
    assert run.used_bytes == 2


def test_pools_do_not_touch_each_other():
    known = context()
    run = Replay([(1, [0]), (1, [1])], [1, 1], lambda: bound("eviction", "lru", known))
    for index, (layer, key) in enumerate([(0, 0), (1, 8), (0, 0), (1, 9), (0, 0)]):
        found = run.event(index, layer, [key])
    assert found == [True]


def test_bypass_streams_what_is_needed_later_than_all_residents():
    events = [[1, 2], [3], [2, 1]]
    assert hits("belady", events, 2) == [0, 0, 1]
    assert hits("belady", events, 2, admission="belady-bypass") == [0, 0, 2]


def test_bypass_gives_space_to_the_miss_that_is_needed_first():
    events = [[1, 2], [2], [1]]
    assert hits("belady", events, 1) == [0, 0, 0]
    assert hits("belady", events, 1, admission="belady-bypass") == [0, 1, 0]
