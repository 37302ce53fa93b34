"""The published eviction scores, worked by hand from the papers' formulas on a few requests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from policies.base import Event
from tests.policies.tools import bound, context, event, trace

N = 4  # experts a layer in these examples


def run_of(n_layers, n_versions=1, sizes=(), **known):
    return replace(context(n_layers=n_layers, n_experts=N, n_versions=n_versions, **known), sizes=sizes)


def score_of(policy, key):
    return policy.scores(np.array([key]))[0]


def play(policy, steps, n_layers, n_versions=1):
    """Play (layer, version keys) steps in order; a step of layer 0 starts a pass."""
    p = -1
    for layer, keys in steps:
        p += layer == 0
        experts = [key // n_versions for key in keys]
        policy.observe(event(experts, layer=layer, index=p * n_layers + layer), keys)
        policy.on_use(keys, p * n_layers + layer)


# -- HOBBIT eq. 3: w_lru R/T + w_lfu F/T + w_lhu H/T + w_fld (1 - ahead / L) -----------------------


def hobbit(n_layers=2, n_versions=1, **weights):
    spec = {"name": "hobbit", "lru": 0.0, "lfu": 0.0, "lhu": 0.0, "fld": 0.0} | weights
    return bound("eviction", spec, run_of(n_layers, n_versions))


TWO_LAYERS = [(0, [0]), (1, [4]), (0, [1]), (1, [4]), (0, [0]), (1, [5])]
# three passes: T = 3, now at layer 1. R: 0 -> 3, 1 -> 2, 4 -> 2, 5 -> 3; F: 0 -> 2, 1 -> 1, 4 -> 2, 5 -> 1


@pytest.mark.parametrize(
    ("weights", "scores"),
    [
        ({"lru": 1.0}, {0: 3 / 3, 1: 2 / 3, 4: 2 / 3, 5: 3 / 3}),
        ({"lfu": 1.0}, {0: 2 / 3, 1: 1 / 3, 4: 2 / 3, 5: 1 / 3}),
        # layer 0 is one step ahead of layer 1, layer 1 is now
        ({"fld": 1.0}, {0: 1 / 2, 1: 1 / 2, 4: 1.0, 5: 1.0}),
        ({"lru": 0.5, "lfu": 0.25, "fld": 0.25}, {0: 0.5 + 0.5 / 3 + 0.125, 5: 0.5 + 0.25 / 3 + 0.25}),
    ],
)
def test_hobbit_weighs_recency_frequency_and_distance(weights, scores):
    policy = hobbit(**weights)
    play(policy, TWO_LAYERS, 2)
    assert {key: score_of(policy, key) for key in scores} == pytest.approx(scores)


def test_hobbit_counts_only_high_precision_uses_for_lhu():
    policy = hobbit(n_layers=1, n_versions=2, lhu=1.0)
    play(policy, [(0, [0, 3]), (0, [1, 3]), (0, [0])], 1, 2)  # expert 0: high, low, high; expert 1: low twice
    assert [score_of(policy, key) for key in (0, 1, 2, 3)] == pytest.approx([2 / 3, 2 / 3, 0, 0])


def test_hobbit_forgets_with_the_sequence_and_counts_what_it_never_saw_as_nothing():
    policy = hobbit(lfu=1.0)
    play(policy, TWO_LAYERS, 2)
    policy.on_sequence_start()
    policy.on_insert(2)
    assert score_of(policy, 0) == score_of(policy, 2) == 0
    assert policy.victim({0}) == 1  # of equal scores the lowest key


def test_hobbit_weights_sum_to_one_and_equal_ones_are_said_to_be_assumed():
    with pytest.raises(Exception, match="together, not 1"):
        hobbit(lru=0.9)
    assert hobbit(lru=1.0).assumptions() == []
    assert "assumed" in bound("eviction", "hobbit", run_of(1)).assumptions()[0]


# -- MoE-APEX: C / T + [used in the last pass] / (ahead + 0.1), C = H + (B_l / B_h) L --------------


def test_lcu_counts_costs_and_adds_who_is_due_soon():
    sizes = [(8, 8), (2, 2)]  # a low-precision expert is a quarter
    policy = bound("eviction", "lcu", run_of(2, 2, sizes))
    # keys: expert * 2 + version. Layer 0: expert 0; layer 1: experts 4 (keys 8, 9) and 5 (keys 10, 11)
    play(policy, [(0, [0]), (1, [9]), (0, [1]), (1, [10]), (0, [2]), (1, [10])], 2, 2)
    # T = 3 at layer 1. C: expert 0: 1 + 1/4; 1: 1; 4: 1/4; 5: 2. Last used in pass: 0: 2, 1: 3, 4: 1, 5: 3
    assert score_of(policy, 0) == pytest.approx(1.25 / 3 + 1 / (1 + 0.1))
    assert score_of(policy, 2) == pytest.approx(1 / 3 + 1 / (1 + 0.1))
    assert score_of(policy, 9) == pytest.approx(0.25 / 3)  # not in the last pass
    assert score_of(policy, 10) == pytest.approx(2 / 3 + 1 / 0.1)
    assert policy.victim(frozenset()) == 9
    policy.on_sequence_start()
    assert score_of(policy, 10) == 0


# -- EdgeMoE: f / distance ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("distance", "scores"),
    [
        # at layer 1 of 3: layer 2 is 1 ahead, layer 0 is 2 ahead, layer 1 itself 3
        ("ahead", {0: 2 / 2, 4: 2 / 3, 8: 1 / 1}),
        # (S - i + I) mod S: 0 -> 1, 2 -> 2, and 1 -> 0, taken as 3
        ("printed", {0: 2 / 1, 4: 2 / 3, 8: 1 / 2}),
    ],
)
def test_edgemoe_divides_frequency_by_layer_distance(distance, scores):
    policy = bound("eviction", {"name": "frequency-distance", "distance": distance}, run_of(3))
    play(policy, [(0, [0]), (1, [4]), (2, [8]), (0, [0]), (1, [4])], 3)
    assert {key: score_of(policy, key) for key in scores} == pytest.approx(scores)
    assert score_of(policy, 1) == 0


# -- MoE-Infinity: (pEAM + eps) (1 - layer / L) ----------------------------------------------------


def test_activation_aware_expects_what_the_likest_sequence_used():
    policy = bound("eviction", "activation-aware", run_of(2))
    play(policy, [(0, [0]), (1, [4]), (0, [0]), (1, [5])], 2)
    # nothing has finished: the present matrix itself: row 0: expert 0 alone; row 1: half each
    assert score_of(policy, 0) == pytest.approx(1.0, abs=1e-5)
    assert score_of(policy, 4) == pytest.approx(0.5 / 2, abs=1e-5)
    policy.on_sequence_start()
    play(policy, [(0, [1]), (1, [6])], 2)
    policy.on_sequence_start()
    policy.observe(event([1], layer=0, index=8), [1])  # like the second sequence
    assert score_of(policy, 6) == pytest.approx(1 / 2, abs=1e-5)
    assert score_of(policy, 4) == pytest.approx(1e-6 / 2)


def test_activation_matrices_replace_the_likest_and_learn_from_a_training_trace():
    learnt = trace([[[0, 1], [2, 3]], [[0, 2], [2, 3]]])
    run = replace(run_of(2), training=learnt)
    policy = bound("eviction", {"name": "activation-aware", "capacity": 1}, run)
    (matrix,) = policy.matrices.finished
    assert matrix.tolist() == [[2, 1, 1, 0], [0, 0, 2, 2]]
    play(policy, [(0, [3]), (1, [4])], 2)
    policy.on_sequence_start()
    assert [m.tolist() for m in policy.matrices.finished] == [[[0, 0, 0, 1], [1, 0, 0, 0]]]
    policy.on_sequence_start()  # an empty sequence leaves no matrix
    assert len(policy.matrices.finished) == 1


def test_activation_matrices_count_tokens_not_steps():
    policy = bound("eviction", "activation-aware", run_of(1))
    policy.observe(Event(0, 0, [0, 1], [3, 1], [1.0, 1.0], (0, 1, 2), decode=False), [0, 1])
    assert policy.matrices.predicted(0)[0].tolist() == [0.75, 0.25, 0, 0]


# -- the others -----------------------------------------------------------------------------------


def test_lfru_divides_uses_by_age():
    policy = bound("eviction", "lfru", run_of(1))
    play(policy, [(0, [0]), (0, [0]), (0, [1]), (0, [2])], 1)  # now 3: ages 2, 1, 0
    assert [score_of(policy, key) for key in (0, 1, 2)] == pytest.approx([2 / 3, 1 / 2, 1])
    policy.on_insert(3)
    assert score_of(policy, 3) == 0
    assert policy.victim(frozenset()) == 3


def test_least_stale_spares_what_this_pass_used():
    policy = bound("eviction", "least-stale", run_of(2))
    play(policy, [(0, [0]), (1, [4]), (0, [1])], 2)
    assert [policy.victim(blocked) for blocked in (set(), {0}, {0, 4}, {0, 1, 4})] == [0, 4, 1, None]
    policy.on_insert(5)  # arrived in this pass, after 1
    assert policy.victim({0, 4, 1}) == 5


def test_decayed_lfu_halves_what_is_old():
    policy = bound("eviction", {"name": "decayed-lfu", "decay": 0.5}, run_of(1))
    play(policy, [(0, [0]), (0, [0]), (0, [1]), (0, [2])], 1)
    # counts in the passes of use: 0: 1, then 1/2 + 1; now three passes after the first use
    assert [score_of(policy, key) for key in (0, 1, 2, 3)] == pytest.approx([1.5 / 4, 1 / 2, 1, 0])


def test_pinned_experts_stay_and_nobody_else_comes():
    policy = bound("eviction", "pinned", run_of(2))
    assert list(policy.preload([1])) == [4, 5, 6, 7]
    policy.on_use([4], 0)
    policy.on_insert(5)
    policy.on_evict(5)
    assert policy.victim(frozenset()) is None


def test_the_popular_stay_and_nobody_else_comes():
    policy = bound("eviction", "static-popularity", run_of(1, popularity=np.array([[1, 5, 2, 5]])))
    assert list(policy.preload([0])) == [1, 3, 2, 0]
    policy.on_use([0, 2], 0)
    policy.on_insert(0)
    assert policy.victim(frozenset()) is None
    assert policy.learns_beforehand
