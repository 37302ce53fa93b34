"""The plain members of the axes: admission, precision, placement, routing, order."""

from __future__ import annotations

from policies.base import Place
from tests.policies.tools import bound, context, event

DEMAND = event([3, 1, 2])


def test_always_admits():
    policy = bound("admission", "always", context())
    assert policy.admits(1, 2, 0)
    assert list(policy.order([3, 1, 2], 0)) == [3, 1, 2]


def test_bypass_orders_by_next_use_and_admits_what_is_needed_first():
    policy = bound("admission", "belady-bypass", context([[3, 1, 2], [2], [3], [5, 3]]))
    assert list(policy.order([3, 1, 2], 0)) == [2, 3, 1]
    assert policy.admits(2, 3, 0)
    assert not policy.admits(3, 2, 0)
    assert not policy.admits(3, 5, 2)  # needed at the same time: the resident stays
    assert not policy.admits(1, 7, 0)  # neither is needed again


def test_bypass_knows_versions_by_their_expert():
    policy = bound("admission", "belady-bypass", context([[1, 2], [2], [1]], n_versions=2))
    assert policy.admits(5, 2, 0)


def test_fixed_wants_the_main_precision_and_nothing_else():
    policy = bound("precision", "fixed", context())
    assert list(policy.wanted(DEMAND)) == [0, 0, 0]
    assert policy.accepts(0, 0)
    assert not policy.accepts(1, 0)


def test_fetch_fetches():
    placed = bound("placement", "fetch", context()).place(DEMAND, [3, 2], [True, False])
    assert [(p.place, p.defer_layers) for p in placed] == [(Place.FETCH, 0)] * 2


def test_the_cpu_computes_what_is_in_dram():
    policy = bound("placement", "cpu", context())
    placed = policy.place(DEMAND, [3, 2], [True, False])
    assert [(p.place, p.defer_layers) for p in placed] == [(Place.CPU, 0), (Place.FETCH, 0)]
    assert policy.uses_cpu


def test_routing_as_recorded_changes_nothing():
    policy = bound("routing", "as-recorded", context())
    assert not policy.rewrites
    assert list(policy.rewrite(DEMAND, [True, False, False])) == [3, 1, 2]


def test_order_as_routed_changes_nothing():
    assert list(bound("order", "as-routed", context()).order(DEMAND, [3, 2])) == [3, 2]
    assert list(bound("order", "ascending", context()).order(DEMAND, [3, 2])) == [2, 3]
