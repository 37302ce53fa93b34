"""Each eviction policy on an example worked by hand."""

from __future__ import annotations

import pytest

from simulator.engine.replay import Replay
from tests.policies.tools import bound, context, hits


def single(text):
    """Return one event for each digit."""
    return [[int(key)] for key in text]


# The string that Belady's anomaly is told with, three slots.
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lru", "000000011000"),
        ("fifo", "000000011001"),
        ("belady", "000011011001"),
        # 1 and 2 have three uses by the end; 3 and 4 come and go with one
        ("lfu", "000000011000"),
    ],
)
def test_the_classical_example(name, expected):
    assert hits(name, single("123412512345"), 3) == [int(hit) for hit in expected]


def test_lru_evicts_the_one_unused_for_longest():
    policy = bound("eviction", "lru", context())
    policy.on_use([1, 2, 3], 0)
    policy.on_use([1], 1)
    assert [policy.victim(blocked) for blocked in ({}, {2}, {2, 3}, {1, 2, 3})] == [2, 3, 1, None]


def test_lru_counts_an_arrival_by_prefetch_as_recent():
    policy = bound("eviction", "lru", context())
    policy.on_insert(1)
    policy.on_use([2], 0)
    policy.on_insert(3)
    assert [policy.victim(blocked) for blocked in ({}, {1}, {1, 2})] == [1, 2, 3]


def test_recency_within_an_event_follows_the_order_of_its_keys():
    policy = bound("eviction", "lru", context())
    policy.on_use([3, 1, 2], 0)
    assert policy.victim({}) == 3


def test_fifo_ignores_use():
    policy = bound("eviction", "fifo", context())
    policy.on_use([1, 2], 0)
    policy.on_insert(3)
    policy.on_use([1], 1)
    assert [policy.victim(blocked) for blocked in ({}, {1}, {1, 2})] == [1, 2, 3]


def test_lfu_counts_and_breaks_ties_by_recency():
    policy = bound("eviction", "lfu", context())
    policy.on_use([1, 2, 3], 0)
    policy.on_use([2, 1], 1)
    assert [policy.victim(blocked) for blocked in ({}, {3}, {2, 3})] == [3, 2, 1]


def test_a_prefetched_expert_has_no_uses_for_lfu():
    policy = bound("eviction", "lfu", context())
    policy.on_use([1], 0)
    policy.on_insert(2)
    assert policy.victim({}) == 2
    policy.on_use([2], 1)
    assert policy.victim({}) == 1


@pytest.mark.parametrize(("survive", "victim"), [(False, 1), (True, 2)])
def test_lfu_counts_survive_eviction_on_request(survive, victim):
    policy = bound("eviction", {"name": "lfu", "survive_eviction": survive}, context())
    policy.on_use([1], 0)
    policy.on_use([1], 1)
    policy.on_evict(1)
    policy.on_use([1], 2)  # its third use, or its first
    policy.on_use([2], 3)
    policy.on_use([2], 4)
    assert policy.victim({}) == victim


def test_lfu_counts_what_was_streamed_if_counts_survive():
    policy = bound("eviction", {"name": "lfu", "survive_eviction": True}, context())
    policy.on_use([1, 2], 0)
    policy.on_use([2], 1)
    for index in (2, 3):
        policy.on_use([3], index)
        policy.on_evict(3)
    policy.on_insert(3)
    assert [policy.victim(blocked) for blocked in ({}, {1}, {1, 2})] == [1, 2, 3]


def test_belady_evicts_the_one_needed_last():
    events = [[1, 2, 3], [2], [1], [3]]
    policy = bound("eviction", "belady", context(events))
    policy.on_use(events[0], 0)
    assert [policy.victim(blocked) for blocked in ({}, {3}, {3, 1})] == [3, 1, 2]
    policy.on_use(events[1], 1)
    assert policy.victim({}) == 2  # never used again


def test_belady_breaks_ties_by_key():
    policy = bound("eviction", "belady", context([[3, 1, 2]]))
    policy.on_use([3, 1, 2], 0)
    assert policy.victim({}) == 1


def test_belady_knows_when_a_prefetched_expert_is_due():
    events = [[1, 2], [2], [5], [1], [4]]
    policy = bound("eviction", "belady", context(events))
    policy.on_insert(5)  # before anything was demanded
    policy.on_use(events[0], 0)
    policy.on_insert(4)
    assert [policy.victim(blocked) for blocked in ({}, {4}, {4, 1}, {4, 1, 5})] == [4, 1, 5, 2]


def test_belady_keeps_up_with_demand_that_another_tier_served():
    events = [[1, 2], [1], [2], [2], [2], [1]]
    policy = bound("eviction", "belady", context(events))
    policy.on_use([1, 2], 0)
    policy.on_use([], 1)  # 1 was found in the tier above: here it is due again at 5
    assert policy.victim({}) == 1


def test_belady_knows_versions_by_their_expert():
    events = [[1, 2], [2], [1]]
    policy = bound("eviction", "belady", context(events, n_versions=2))
    policy.on_use([2, 5], 0)  # expert 1 in the main version, expert 2 in the other
    assert policy.victim({}) == 2
    policy.on_use([5], 1)
    assert policy.victim({}) == 5


def test_belady_takes_a_substitute_by_its_own_next_use():
    events = [[1, 2], [1], [2], [3]]
    policy = bound("eviction", "belady", context(events))
    policy.on_use([1, 3], 0)  # 3 serves in place of 2
    assert policy.victim({}) == 3


def test_static_popularity_goes_by_layer_and_expert():
    popularity = context([[0], [5], [5]], n_layers=2, n_experts=4).popularity
    policy = bound("eviction", "static-popularity", context(n_layers=2, n_experts=4, popularity=popularity))
    assert list(policy.preload([0, 1])) == [5, 0, 1, 2, 3, 4, 6, 7]


def test_static_popularity_starts_with_the_most_popular():
    events = [[0, 1], [1, 2], [1], [0, 2], [1]]
    policy = bound("eviction", "static-popularity", context(events, n_experts=4))
    assert list(policy.preload([0])) == [1, 0, 2, 3]
    assert hits("static-popularity", events, 2, n_experts=4) == [2, 1, 1, 1, 1]  # 2 never gets in


def test_preloading_takes_what_fits_in_order():
    known = context([[4], [4], [0], [0], [1]], n_layers=2, n_experts=4)
    run = Replay([(6, [0, 1])], [4, 2], lambda: bound("eviction", "static-popularity", known))
    assert run.used_bytes == run.peak_bytes == 6  # expert 0 of layer 0, expert 0 of layer 1
    assert run.event(0, 0, [0, 1]) == [True, False]


def test_random_draws_all_keys_alike_and_by_seed():
    policy = bound("eviction", "random", context(seed=3))
    policy.on_use(range(4), 0)
    drawn = []
    for index in range(4000):
        victim = policy.victim({0})
        drawn.append(victim)
        policy.on_evict(victim)
        policy.on_use([victim], index)
    assert drawn.count(0) == 0
    for key in (1, 2, 3):
        assert drawn.count(key) == pytest.approx(4000 / 3, rel=0.1)
    again = bound("eviction", "random", context(seed=4))
    again.on_use(range(4), 0)
    other = []
    for index in range(100):
        other.append(again.victim({0}))
        again.on_evict(other[-1])
        again.on_use([other[-1]], index)
    assert other != drawn[:100]


def test_heaps_do_not_grow_with_the_length_of_the_run():
    events = [[i % 3] for i in range(2000)]
    for name in ("lfu", "belady"):
        policy = bound("eviction", name, context(events))
        for index, keys in enumerate(events):
            policy.on_use(keys, index)
        assert len(policy.heap.heap) < 100
