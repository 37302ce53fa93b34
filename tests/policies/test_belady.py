"""Belady is the optimum: brute force over all victims, and the future it is told."""

from __future__ import annotations

from functools import cache
from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.base import NEVER
from simulator.engine.future import KnownFuture, belady_hit_rate
from tests.policies import oracle
from tests.policies.tools import context, demands, hits

sequences = st.lists(st.integers(0, 4), max_size=10)


def most_hits(sequence, slots, *, bypass):
    """Return the hits of the best choice of victims, having tried all."""

    @cache
    def best(at, cached):
        if at == len(sequence):
            return 0
        key = sequence[at]
        if key in cached:
            return 1 + best(at + 1, cached)
        if len(cached) < slots:
            return best(at + 1, cached | {key})
        choices = [cached - {victim} | {key} for victim in cached] + [cached] * bypass
        return max(best(at + 1, after) for after in choices)

    return best(0, frozenset())


@pytest.mark.parametrize(("admission", "bypass"), [("always", False), ("belady-bypass", True)])
@given(sequence=sequences, slots=st.integers(1, 4))
def test_nobody_hits_more_often(sequence, slots, admission, bypass):
    events = [[key] for key in sequence]
    found = sum(hits("belady", events, slots, admission=admission))
    assert found == most_hits(tuple(sequence), slots, bypass=bypass)


@given(demand=demands())
def test_the_future_is_what_happens(demand):
    events = demand[0]
    future = KnownFuture(iter(events))
    for index, keys in enumerate(events):
        assert future.keys(index) == keys
        expected = [oracle.next_use(key, events, index) for key in keys]
        assert future.next_uses(index) == [NEVER if use == oracle.FAR else use for use in expected]
        for key in range(-1, 19):
            use = oracle.next_use(key, events, index)
            assert future.next_use(key, index) == (NEVER if use == oracle.FAR else use)
    assert future.keys(len(events)) == future.keys(len(events) + 7) == []


def test_the_future_answers_before_the_run_began():
    assert KnownFuture([[2], [1]]).next_use(1, -1) == 1


def test_beladys_hit_rate_is_that_of_belady_with_forced_admission():
    events = [[int(key)] for key in "123412512345"]
    rate = belady_hit_rate(events, cycle([0]), [(30, [0])], [10], context(events, n_versions=2))
    assert (rate.hit_rate, rate.heuristic) == (5 / 12, False)


def test_beladys_hit_rate_is_a_heuristic_where_sizes_differ():
    events = [[0], [8], [0], [8]]
    rate = belady_hit_rate(events, cycle([0, 1]), [(30, [0, 1])], [10, 20], context(events, n_layers=2))
    assert (rate.hit_rate, rate.heuristic) == (0.5, True)


def test_beladys_hit_rate_of_nothing_is_zero():
    assert belady_hit_rate([[]], [0], [(1, [0])], [1], context()).hit_rate == 0
