"""Every registered policy keeps the contract (policies/checks.py); eviction keeps the laws of a cache too."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.base import Eviction
from policies.checks import checks_of
from policies.registry import create, listing
from tests.policies.tools import bound, context, event, hits, trace

N_KEYS = 8
WITH_PARAMETERS = [
    ("eviction", {"name": "lfu", "survive_eviction": True}),
    ("eviction", {"name": "frequency-distance", "distance": "printed"}),
    ("eviction", {"name": "activation-aware", "capacity": 1}),
    ("partition", {"name": "whole-layers", "keep": "last"}),
    ("prefetch", {"name": "oracle", "n_layers": 5}),
    ("prefetch", {"name": "gate-lookahead", "n_layers": 3, "adaptive": True}),
    ("prefetch", {"name": "popularity", "n_layers": 3, "most": 1}),
    ("prefetch", {"name": "previous-token", "n_layers": 3}),
    ("prefetch", {"name": "whole-layer", "n_layers": 3}),
    ("precision", {"name": "hobbit", "high": 0.3, "low": 0.6}),
    ("precision", {"name": "by-importance", "low_share": 1.0}),
    ("routing", {"name": "adaptive-gating", "threshold": 0.5}),
]
SPECS = [*((row.axis, row.name) for row in listing()), *WITH_PARAMETERS]
CHECKS = [
    pytest.param(check, id=f"{spec}-{name}")
    for axis, spec in SPECS
    for name, check in checks_of(partial(create, axis, spec))
]
EVICTIONS = [spec for axis, spec in SPECS if axis == "eviction"]
every_eviction = pytest.mark.parametrize("spec", EVICTIONS, ids=str)


def ranks_from_cold(spec) -> bool:
    """Return whether a policy ranks what came by demand; others start full, or replay a record."""
    kind = type(create("eviction", spec))
    cold = kind.residency is Eviction.residency and kind.preload is Eviction.preload
    return cold and not kind.refuses


every_cold_eviction = pytest.mark.parametrize("spec", [*filter(ranks_from_cold, EVICTIONS)], ids=str)
keys = st.integers(0, N_KEYS - 1)


@pytest.mark.parametrize("check", CHECKS)
def test_every_registered_policy_keeps_the_contract(check):
    check()


# -- laws of a cache: what a policy of eviction reaches together with a pool -----------------------------


@every_cold_eviction
def test_one_slot_holds_the_last_key(spec):
    assert hits(spec, [[1], [1], [2], [2], [1]], 1) == [0, 1, 0, 1, 0]


@every_cold_eviction
@pytest.mark.parametrize("evict", ["on_insert", "after_event"])
def test_where_all_fit_only_first_uses_miss(spec, evict):
    assert hits(spec, [[0, 1], [2], [1, 2], [], [3, 0], [3, 2, 1, 0]], 4, evict=evict) == [0, 0, 2, 0, 1, 4]


@every_cold_eviction
def test_an_event_does_not_evict_what_it_touches(spec):
    assert hits(spec, [[0, 1], [2, 1], [1]], 2) == [0, 1, 1]


def at_most_belady(spec, events, slots, admission):
    run = {"n_experts": N_KEYS, "trace": trace([[[0, 1]]]), "admission": admission}
    return sum(hits(spec, events, slots, **run)) <= sum(hits("belady", events, slots, **run))


@every_cold_eviction
@given(
    events=st.lists(st.lists(keys, min_size=1, max_size=3, unique=True), max_size=25), slots=st.integers(3, 6)
)
def test_nobody_hits_more_often_than_belady_where_all_are_let_in(spec, events, slots):
    assert at_most_belady(spec, events, slots, "always")


@every_cold_eviction
@given(events=st.lists(st.lists(keys, min_size=1, max_size=1), max_size=40), slots=st.integers(1, 6))
def test_nobody_hits_more_often_than_belady_with_bypass_one_expert_a_step(spec, events, slots):
    """With several a step it is no bound: a step's own experts cannot make room for each other."""
    assert at_most_belady(spec, events, slots, "belady-bypass")


@every_eviction
def test_residency_is_the_tiers_affair_unless_a_record_is_replayed(spec):
    record = trace([[[0, 1]]], recorded_resident=np.array([[[1, 0]]], np.int8))
    said = bound("eviction", spec, context([[0, 1]], n_experts=N_KEYS, trace=record)).residency(event([0, 1]))
    assert (said is None) == (spec != "recorded")
