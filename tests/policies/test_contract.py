"""The contract that every registered eviction policy keeps, whatever its order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.base import Eviction
from policies.registry import create, listing
from tests.policies.tools import bound, context, event, hits, trace

N_KEYS = 8
NAMES = [row.name for row in listing() if row.axis == "eviction"]
SPECS = [*NAMES, {"name": "lfu", "survive_eviction": True}]

keys = st.integers(0, N_KEYS - 1)
some_keys = st.lists(keys, max_size=4, unique=True)
steps = st.one_of(
    st.tuples(st.just("use"), some_keys),
    st.tuples(st.just("insert"), keys),
    st.tuples(st.just("evict"), keys),
    st.tuples(st.just("sequence"), st.none()),
)
lives = st.lists(steps, max_size=30)
every_policy = pytest.mark.parametrize("spec", SPECS, ids=str)
# the others replay a record, by which experts come and go
RANKING = [
    spec
    for spec in SPECS
    if type(create("eviction", spec)).residency is Eviction.residency and not create("eviction", spec).refuses
]
every_ranking_policy = pytest.mark.parametrize("spec", RANKING, ids=str)
COLD = [spec for spec in RANKING if type(create("eviction", spec)).preload is Eviction.preload]
every_cold_policy = pytest.mark.parametrize("spec", COLD, ids=str)


def new(spec, demand=()):
    record = trace([[[0, 1]]], recorded_resident=np.array([[[1, 0]]], np.int8))
    return bound("eviction", spec, context(demand, n_experts=N_KEYS, trace=record))


def live(spec, life, ask):
    """Play a life; return what ``ask(policy, present)`` said after each step."""
    demand = [argument for step, argument in life if step == "use"]
    policy, present, index, said = new(spec, demand), set(), 0, []
    for step, argument in life:
        if step == "use":
            policy.observe(event(argument, index=index), argument)
            policy.on_use(argument, index)
            present.update(argument)
            index += 1
        elif step == "insert" and argument not in present:
            policy.on_insert(argument)
            present.add(argument)
        elif step == "evict":
            policy.on_evict(argument)
            present.discard(argument)
        elif step == "sequence":
            policy.on_sequence_start()
        said.append(ask(policy, present))
    return said


@every_policy
@given(life=lives, blocked=st.sets(keys))
def test_the_victim_is_somebody_present_and_not_blocked(spec, life, blocked):
    def ask(policy, present):
        assert policy.victim(blocked) in {*(present - blocked), None}

    live(spec, life, ask)


@every_ranking_policy
@given(life=lives, blocked=st.sets(keys))
def test_somebody_goes_if_anybody_can(spec, life, blocked):
    def ask(policy, present):
        assert (policy.victim(blocked) is None) == (not present - blocked)

    live(spec, life, ask)


@every_policy
@given(life=lives, blocked=st.sets(keys))
def test_asking_for_a_victim_changes_nothing(spec, life, blocked):
    def ask_often(policy, present):
        policy.victim(present)
        first = policy.victim(blocked)
        policy.victim(frozenset())
        assert policy.victim(blocked) == first
        return first

    quiet = live(spec, life, lambda policy, present: None)
    assert quiet == [None] * len(life)
    # the last answer is the same for one who never asked before
    often = live(spec, life, ask_often)
    count = iter(range(len(life)))
    last = live(
        spec, life, lambda policy, present: policy.victim(blocked) if next(count) == len(life) - 1 else None
    )
    assert often[-1:] == last[-1:]


@every_policy
@given(life=lives)
def test_the_same_life_has_the_same_victims(spec, life):
    def ask(policy, present):
        return policy.victim(frozenset())

    assert live(spec, life, ask) == live(spec, life, ask)


@every_policy
def test_an_empty_pool_has_no_victim(spec):
    assert new(spec).victim(frozenset()) is None


@every_ranking_policy
def test_who_was_evicted_is_forgotten_and_strangers_may_be_evicted(spec):
    policy = new(spec, [[1, 2]])
    policy.on_evict(7)
    policy.observe(event([1, 2]), [1, 2])
    policy.on_use([1, 2], 0)
    policy.on_evict(7)
    policy.on_evict(1)
    policy.on_evict(1)
    assert policy.victim(frozenset()) == 2
    policy.on_evict(2)
    assert policy.victim(frozenset()) is None


@every_cold_policy
def test_one_slot_holds_the_last_key(spec):
    assert hits(spec, [[1], [1], [2], [2], [1]], 1) == [0, 1, 0, 1, 0]


@every_cold_policy
@pytest.mark.parametrize("evict", ["on_insert", "after_event"])
def test_where_all_fit_only_first_uses_miss(spec, evict):
    assert hits(spec, [[0, 1], [2], [1, 2], [], [3, 0], [3, 2, 1, 0]], 4, evict=evict) == [0, 0, 2, 0, 1, 4]


@every_cold_policy
def test_an_event_does_not_evict_what_it_touches(spec):
    assert hits(spec, [[0, 1], [2, 1], [1]], 2) == [0, 1, 1]


def at_most_belady(spec, events, slots, admission):
    run = {"n_experts": N_KEYS, "trace": trace([[[0, 1]]]), "admission": admission}
    return sum(hits(spec, events, slots, **run)) <= sum(hits("belady", events, slots, **run))


@every_cold_policy
@given(
    events=st.lists(st.lists(keys, min_size=1, max_size=3, unique=True), max_size=25), slots=st.integers(3, 6)
)
def test_nobody_hits_more_often_than_belady_where_all_are_let_in(spec, events, slots):
    assert at_most_belady(spec, events, slots, "always")


@every_cold_policy
@given(events=st.lists(st.lists(keys, min_size=1, max_size=1), max_size=40), slots=st.integers(1, 6))
def test_nobody_hits_more_often_than_belady_with_bypass_one_expert_a_step(spec, events, slots):
    """With several a step it is no bound: a step's own experts cannot make room for each other."""
    assert at_most_belady(spec, events, slots, "belady-bypass")


@every_policy
def test_a_pool_starts_with_experts_of_its_layers(spec):
    run = context([[1], [9], [9]], n_layers=2, n_experts=N_KEYS, trace=trace([[[0, 1], [0, 1]]]))
    start = bound("eviction", spec, run).preload([1])
    assert len(set(start)) == len(start)
    assert set(start) <= set(range(8, 16))


@every_policy
def test_residency_is_the_tiers_affair_unless_a_record_is_replayed(spec):
    said = new(spec, [[0, 1]]).residency(event([0, 1]))
    assert (said is None) == (spec != "recorded")
    assert said is None or len(said) == 2
