"""What the published systems choose: by hand from the papers, and by brute force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.base import UNWANTED, Event, Place
from policies.registry import create
from simulator.errors import InputError
from tests.policies.tools import bound, context, event, trace


def weighed(experts, weights, **arrays):
    return trace(experts, weights=np.asarray(weights, np.float32), **arrays)


# -- HOBBIT section 3.2: s_0 = 0, s_i = sum of the weights ranked before; T1 = 0.6, T2 = 0.9 -------


def hobbit(run, **parameters):
    return bound("precision", {"name": "hobbit", **parameters}, run)


def mixtral(record):
    """Return the run of a trace of one layer as if it were Mixtral-8x7B's, by name and shape."""
    named = context(n_layers=32, n_versions=2, trace=record, model="mixtral-8x7b")
    return replace(named, top_k=2)


def test_hobbit_ranks_by_weight_and_compares_the_sum_before():
    record = weighed([[[3, 1, 0, 2]]], [[[0.05, 0.5, 0.3, 0.15]]])  # 1: 0, 0: .5, 2: .8, 3: .95
    policy = hobbit(context(n_versions=2, trace=record), high=0.6, low=0.9)
    assert list(policy.wanted(event([3, 1, 0, 2]))) == [UNWANTED, 0, 0, 1]


def test_hobbit_normalises_over_k_and_the_first_is_always_high():
    record = weighed([[[0, 1]]], [[[0.08, 0.02]]])  # raw softmax: 0.8 and 0.2 of the two
    policy = hobbit(mixtral(record))
    assert list(policy.wanted(event([0, 1]))) == [0, 1]
    assert policy.foreseen([[4, 5]], [[0.01, 0.99]], 0) == {5: 0}  # 4: above 0.9, left out


def test_hobbit_gives_an_expert_the_best_that_any_token_asks_for():
    record = weighed([[[0, 1]], [[1, 2]]], [[[0.95, 0.05]], [[0.7, 0.3]]])
    policy = hobbit(mixtral(record))
    assert list(policy.wanted(event([0, 1, 2], rows=(0, 1)))) == [0, 0, 1]
    assert list(policy.wanted(event([0, 1], rows=(0,)))) == [0, UNWANTED]


def test_hobbit_takes_what_is_better_and_anything_for_what_it_does_not_want():
    policy = hobbit(context(n_versions=2, trace=weighed([[[0, 1]]], [[[0.5, 0.5]]])))
    said = [[policy.accepts(version, wanted) for version in (0, 1)] for wanted in (0, 1, UNWANTED)]
    assert said == [[True, False], [True, True], [True, True]]


def test_hobbit_thresholds_are_quantiles_of_what_is_learnt_from():
    seconds = np.linspace(0.5, 1, 101)  # weight of the first = score of the second
    learnt = weighed([[[0, 1]]] * 101, [[[w, 1 - w]] for w in seconds])
    run = context(n_versions=2, trace=weighed([[[0, 1]]], [[[0.5, 0.5]]]))
    taught = replace(run, training=learnt, learnt=learnt)
    policy = hobbit(taught, high_share=0.34, low_share=0.94)
    assert (policy.high, policy.low) == pytest.approx((0.67, 0.97), abs=1e-6)
    assert policy.assumptions() == []
    assert hobbit(taught, high_share=0.5).high == pytest.approx(0.75, abs=1e-6)  # and Mixtral's low_share
    # where nothing is stated, Mixtral's shares are assumed; of what is replayed, that is said
    policy = hobbit(taught)
    assert (policy.high, policy.low) == pytest.approx((0.67, 0.97), abs=1e-6)
    assert [fact for fact in policy.assumptions() if "Mixtral" in fact] == list(policy.assumptions())
    assert "replayed tokens themselves" in hobbit(run).assumptions()[1]
    assert not policy.learns_beforehand


def test_hobbit_takes_a_quantile_of_all_choices_but_the_first_in_rank_and_of_none_that_are_missing():
    # the first slot is not the first in rank; a slot of -1 has no score
    learnt = weighed([[[0, 1]], [[2, -1]], [[-1, -1]]], [[[0.25, 0.75]], [[0.5, 0.5]], [[0.5, 0.5]]])
    policy = hobbit(replace(context(n_versions=2, trace=learnt)), high_share=0.0, low_share=1.0)
    assert (policy.high, policy.low) == (0.75, 0.75)


def test_hobbit_takes_the_published_thresholds_on_mixtral_alone():
    record = weighed([[[0, 1]]] * 2, [[[0.7, 0.3]], [[0.8, 0.2]]])
    policy = hobbit(mixtral(record))
    assert (policy.high, policy.low) == pytest.approx((0.6, 0.9), abs=1e-7)
    assert policy.assumptions() == []
    for other in (replace(mixtral(record), model="phi-3.5-moe"), replace(mixtral(record), n_experts=16)):
        assert hobbit(other).high == pytest.approx(0.734, abs=1e-6)  # the 34 % quantile of .7 and .8
    assert hobbit(mixtral(record), low_share=0.5, high_share=0.5).high == pytest.approx(0.75, abs=1e-6)
    assert hobbit(replace(mixtral(record), model="phi-3.5-moe"), high=0.5).low == pytest.approx(0.9, abs=1e-7)


@pytest.mark.parametrize("recorded", [np.float16, np.float32])
def test_hobbit_compares_as_precisely_as_weights_were_recorded(recorded):
    """Recorded .6 and .4 make .6000000059 in float32, .60009766 in float16: still not above T1 = .6."""
    record = trace([[[0, 1]]], weights=np.array([[[0.6, 0.4]]], recorded))
    first = float(record.weights[0, 0, 0])
    assert first / float(record.weights.astype(np.float64).sum()) > 0.6
    assert list(hobbit(mixtral(record)).wanted(event([0, 1]))) == [0, 0]
    above = trace([[[0, 1]]], weights=np.array([[[0.602, 0.398]]], recorded))
    assert list(hobbit(mixtral(above)).wanted(event([0, 1]))) == [0, 1]


@pytest.mark.parametrize("experts", [[[[0]], [[1]]], [[[-1]], [[-1]]], [[[-1, -1]], [[-1, -1]]]])
def test_hobbit_needs_no_threshold_where_no_token_has_a_second_expert(experts):
    record = weighed(experts, np.ones_like(experts, float))
    policy = hobbit(context(n_versions=2, trace=record))
    assert policy.assumptions() == []
    assert list(policy.wanted(event([experts[0][0][0]] if experts[0][0][0] >= 0 else []))) in ([0], [])


def test_hobbit_refuses_to_learn_thresholds_where_there_are_no_weights():
    with pytest.raises(InputError, match="no gate weights"):
        create("precision", "hobbit").check_training(trace([TOKEN]))
    create("precision", {"name": "hobbit", "high": 0.5}).check_training(trace([TOKEN]))


@pytest.mark.parametrize(
    "odd",
    [{"high": 0.9, "low": 0.6}, {"high_share": 0.95}, {"high": 0.5, "low_share": 0.9}],
)
def test_hobbit_refuses_thresholds_that_contradict_each_other(odd):
    with pytest.raises(InputError):
        create("precision", {"name": "hobbit", **odd})


def test_edgemoe_keeps_the_least_used_at_the_lower_precision():
    popularity = np.array([[5, 0, 1, 1, 9, 3, 2, 4]])  # least: 1, then 2 and 3 (lower key first)
    run = context(n_versions=2, popularity=popularity)
    policy = bound("precision", {"name": "by-importance", "low_share": 0.25}, run)
    assert list(policy.wanted(event([0, 1, 2, 3]))) == [0, 1, 1, 0]
    assert policy.foreseen([[1, 0, -1]], [[1, 1, 1]], 0) == {1: 1, 0: 0}
    assert not policy.accepts(0, 1)  # an expert exists once
    assert "assumed" in policy.assumptions()[0]


# -- prefetch -------------------------------------------------------------------------------------

TOKEN = [[0, 1], [2, 3], [4, 5]]


def test_the_transition_table_adds_up_the_pairs_of_two_layers():
    record = trace([TOKEN, [[0, 1], [2, 3], [4, 6]], [[0, 7], [2, 7], [1, 1]]])
    run = context(n_layers=3, trace=record)
    policy = bound("prefetch", {"name": "transition", "most": 3}, run)
    steps = [event([0], layer=layer, index=3 * t + layer, rows=(t,)) for t in range(3) for layer in range(3)]
    said = [[(wish.key - 16, wish.score) for wish in policy.wishes(step, set())] for step in steps]
    # the first pass knows nothing; the second has seen the pairs (0,2) (0,3) (1,2) (1,3) lead to 4 and 5
    assert said[:5] == [[], [], [], [], [(4, 0.5), (5, 0.5)]]
    # the third shares only the pair (0, 2), which led to 4 twice, to 5 and 6 once
    assert said[7] == [(4, 0.5), (5, 0.25), (6, 0.25)]
    assert said[6] == said[8] == []


def test_the_transition_table_starts_from_the_training_trace():
    run = replace(context(n_layers=3, trace=trace([TOKEN])), training=trace([TOKEN]))
    policy = bound("prefetch", "transition", run)
    assert [wish.key - 16 for wish in policy.wishes(event([2], layer=1), set())] == [4, 5]


def test_the_transition_table_counts_as_a_search_of_the_past_does_in_as_little_memory():
    """300 tokens of 3 layers: counts up to 300 do not fit a byte, and every row is that of a pair."""
    n, n_tokens, k = 24, 300, 4
    draw = np.random.default_rng(5)
    chosen = np.argsort(draw.random((n_tokens, 3, n)) * (1 + np.arange(n)), axis=2)[:, :, :k]
    run = context(n_layers=3, n_experts=n, trace=trace(chosen))
    policy = bound("prefetch", {"name": "transition", "most": n}, run)
    for t in range(n_tokens):
        said = [policy.wishes(event([0], layer=layer, rows=(t,)), set()) for layer in range(3)]
    past, last = chosen[:-1], chosen[-1]
    shared = [np.isin(past[:, layer], last[layer]).sum(axis=1) for layer in (0, 1)]
    counts = np.bincount(past[:, 2].ravel(), np.repeat(shared[0] * shared[1], k), minlength=n)
    assert counts.max() > 255
    expected = {2 * n + e: counts[e] / counts.sum() for e in range(n) if counts[e]}
    assert {wish.key: wish.score for wish in said[1]} == pytest.approx(expected)
    pairs = {(a, b) for token in chosen for a in token[0] for b in token[1]}
    tables = [table for table in policy.counts if len(table) > 1]
    assert len(tables) == 1
    assert (len(pairs) + 1) * n * 2 <= tables[0].nbytes <= 2 * (len(pairs) + 1) * n * 2


def test_popularity_counts_what_has_run():
    policy = bound("prefetch", {"name": "popularity", "n_layers": 2, "most": 2}, context(n_layers=3))
    for key in (8, 9, 9, 10, 16):
        policy.wishes(event([key], layer=key // 8), set())
    assert [(w.key, w.layer) for w in policy.wishes(event([0]), set())] == [(9, 1), (8, 1), (16, 2)]
    learnt = replace(context(n_layers=3, popularity=np.eye(3, 8, dtype=np.int64)), training=trace([TOKEN]))
    policy = bound("prefetch", "popularity", learnt)
    assert [w.key for w in policy.wishes(event([0]), set())] == [9]


def test_previous_token_repeats_the_last_pass_of_this_sequence():
    policy = bound("prefetch", {"name": "previous-token", "n_layers": 2}, context(n_layers=3))
    policy.wishes(event([8, 9], layer=1), set())
    policy.wishes(event([17], layer=2), set())
    assert [(w.key, w.layer) for w in policy.wishes(event([1]), set())] == [(8, 1), (9, 1), (17, 2)]
    policy.on_sequence_start()
    assert list(policy.wishes(event([1]), set())) == []


def test_a_whole_layer_wraps_into_the_next_pass():
    policy = bound("prefetch", {"name": "whole-layer", "n_layers": 2}, context(n_layers=3, n_versions=2))
    found = policy.wishes(event([9], layer=1), set())
    assert [w.key // 2 for w in found] == [*range(16, 24), *range(8)]
    assert [w.layer for w in found] == [1] * 8 + [2] * 8


def test_activation_aware_prefers_what_is_likely_and_near():
    policy = bound("prefetch", {"name": "activation-aware", "most": 3}, context(n_layers=3))
    for layer, keys in enumerate([[0], [8, 9], [16]]):
        policy.wishes(event(keys, layer=layer, index=layer), set())
    found = policy.wishes(event([0], layer=0, index=3), set())
    # 16: 1 * (1 - 2/3); 8 and 9: 1/2 * (1 - 1/3): equal, the lower key first
    assert [w.key for w in found] == [8, 9, 16]
    assert [w.score for w in found] == pytest.approx([1 / 3] * 3)
    policy.on_sequence_start()
    assert [w.key for w in policy.wishes(event([0], layer=0, index=6), set())] == [8, 9, 16]


def lookahead(record, n_versions=1, precision=None, **parameters):
    run = context(n_layers=3, n_versions=n_versions, trace=record)
    run = replace(run, precision=precision and bound("precision", precision, run))
    return bound("prefetch", {"name": "gate-lookahead", **parameters}, run)


NEXT = np.array([[[2, 3], [4, 5], [-1, -1]]], np.int16)
AFTER = np.array([[[4, 6], [-1, -1], [-1, -1]]], np.int16)


def test_adaptive_lookahead_goes_on_only_when_all_is_there():
    record = trace([TOKEN], predicted=(NEXT, AFTER))
    policy = lookahead(record, n_layers=2, adaptive=True)
    assert [w.key for w in policy.wishes(event([0]), {10})] == [10, 11]
    assert [w.key for w in policy.wishes(event([0]), {10, 11})] == [10, 11, 20, 22]


def test_lookahead_wishes_for_the_version_that_the_predicted_weight_asks_for():
    weights = np.array([[[0.8, 0.2], [0.99, 0.01], [0, 0]]], np.float16)
    record = weighed([TOKEN], [[[0.5, 0.5]] * 3], predicted=(NEXT,), predicted_weights=(weights,))
    policy = lookahead(record, n_versions=2, precision={"name": "hobbit", "high": 0.6, "low": 0.9})
    assert [w.key for w in policy.wishes(event([0]), set())] == [2 * 10, 2 * 11 + 1]
    assert [w.key for w in policy.wishes(event([0]), {22})] == [20, 22]  # high serves where low will do
    assert [w.key for w in policy.wishes(event([0]), {21})] == [20, 23]  # low does not serve for high
    assert [w.key for w in policy.wishes(event([0], layer=1), set())] == [2 * 20]  # the second is skipped


def test_without_predictions_an_accuracy_is_assumed_and_said():
    rng = np.random.default_rng(0)
    experts = np.array([[rng.permutation(8)[:2] for _ in range(3)] for _ in range(3000)], np.int16)
    policy = lookahead(trace(experts), n_layers=2, accuracy=[0.9, 0.5])
    for ahead, share in ((1, 0.9), (2, 0.5)):
        right = total = 0
        for row in range(3000):
            (said,), (scores,) = policy.predictor.choices([row], 0, ahead)
            assert len(set(said)) == 2
            assert scores == [2, 1]
            right += len({*said} & {*experts[row, ahead].tolist()})
            total += 2
        assert right / total == pytest.approx(share, abs=0.02)
    assert "0.9, 0.5" in policy.assumptions()[0]
    again = lookahead(trace(experts), n_layers=2, accuracy=[0.9, 0.5])
    assert (again.predictor.predicted[0] == policy.predictor.predicted[0]).all()
    assert policy.predictor.choices([0], 2, 1) == ([[-1, -1]], [[0.0, 0.0]])


def test_assumed_predictions_use_recorded_weights_and_run_out_of_wrong_experts():
    record = weighed([[[0, 1, 2, 3, 4, 5, 6]] * 2], [[[1 / 7] * 7] * 2])
    policy = bound(
        "prefetch",
        {"name": "gate-lookahead", "accuracy": [0.0]},
        context(n_layers=2, trace=record),
    )
    (said,), (scores,) = policy.predictor.choices([0], 0, 1)
    assert said == [7, -1, -1, -1, -1, -1, -1]
    assert scores == pytest.approx([1 / 7] * 7)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [({}, "no recorded predictions"), ({"n_layers": 3, "accuracy": [1.0]}, "accuracy has 1 entries")],
)
def test_a_reach_that_nobody_has_is_refused(parameters, says):
    with pytest.raises(InputError, match=says):
        create("prefetch", {"name": "gate-lookahead", **parameters}).check(trace([TOKEN]))


# -- Fiddler section 3.2: expert by expert, the CPU unless fetching and computing there is quicker ---


class Costs:
    def __init__(self, fetch: int, gpu: int, cpu: int) -> None:
        self.fetch, self.gpu, self.cpu = fetch, gpu, cpu

    def expert_ns(self, layer: int, version: int, tokens: int) -> int:
        return self.gpu

    def cpu_expert_ns(self, layer: int, version: int, tokens: int) -> int:
        return self.cpu * tokens

    def fetch_ns(self, layer: int, version: int) -> int:
        return self.fetch


def fiddler(costs: Costs, tokens: Sequence[int], dram: Sequence[bool]) -> list[Place]:
    """Return where the missed experts 0, 1, ... go, of so many tokens each; expert 10 was found."""
    missed = list(range(len(tokens)))
    step = Event(0, 0, [*missed, 10], [*tokens, 1], [1.0] * (len(tokens) + 1), (0,), decode=True)
    policy = bound("placement", "fiddler", replace(context(n_experts=16), costs=costs))
    return [placed.place for placed in policy.place(step, missed, dram)]


def test_fiddler_judges_each_expert_by_itself():
    """Two missed: 64,152 ns on the CPU, 108,304 + 12,831 on the GPU. Both stay, whatever their sum."""
    assert fiddler(Costs(108_304, 12_831, 64_152), [1, 1], [True, True]) == [Place.CPU, Place.CPU]
    # the CPU's time grows with the tokens: of 2 tokens 128,304 > 121,135
    assert fiddler(Costs(108_304, 12_831, 64_152), [1, 2], [True, True]) == [Place.CPU, Place.FETCH]
    assert fiddler(Costs(10, 2, 4), [3, 4, 1], [True, True, False]) == [Place.CPU, Place.FETCH, Place.FETCH]


def test_the_cpu_leaves_prompts_and_large_steps_to_the_gpu():
    both = [True, True]
    prompt = Event(0, 0, [0, 1], [1, 1], [1, 1], (0, 1), decode=False)
    large = Event(0, 0, [0, 1], [1, 1], [1, 1], (0, 1), decode=True)
    for parameters, step, place in [
        ({"decode_only": True}, prompt, Place.FETCH),
        ({"decode_only": True}, large, Place.CPU),
        ({"most_tokens": 1}, large, Place.FETCH),
        ({"most_tokens": 2}, large, Place.CPU),
    ]:
        policy = bound("placement", {"name": "cpu", **parameters}, context())
        assert [p.place for p in policy.place(step, [0, 1], both)] == [place, place]


# -- AdapMoE --------------------------------------------------------------------------------------


def printed_loads(k: int, accuracy: float, single: float) -> float:
    """The formula of AdapMoE's code for 8 experts, two a token (facts on src/dp.py)."""
    a, r1 = accuracy, single
    one = (1 - k / 8) * (1 - a)
    two = 2 * (8 - k) * (7 - k) / 56 * (1 - a) + (8 - k) * (7 - k) / 56 * a + 2 * (8 - k) * k / 56 * (1 - a)
    return r1 * one + (1 - r1) * two


@given(
    accuracy=st.lists(st.sampled_from([0.2, 0.5, 0.86, 0.95]), min_size=3, max_size=3),
    single=st.lists(st.sampled_from([0.0, 0.25, 0.6]), min_size=3, max_size=3),
    slots=st.integers(1, 24),
)
def test_adapmoe_divides_slots_as_well_as_any_division(accuracy, single, slots):
    run = replace(context(n_layers=3, trace=trace([[[0, 1]] * 3])), top_k=2)
    spec = {"name": "adapmoe", "accuracy": accuracy, "single": single}
    pools = bound("partition", spec, run).pools(10 * slots + 9, [10, 10, 10])
    chosen = [capacity // 10 for capacity, _ in pools]
    assert [list(layers) for _, layers in pools] == [[0], [1], [2]]
    assert sum(chosen) <= slots
    sure = [0.0, *accuracy[1:]]  # nobody predicts the first layer

    def loads(division: Sequence[int]) -> float:
        return sum(printed_loads(k, a, r) for k, a, r in zip(division, sure, single, strict=True))

    divisions = [d for d in product(range(9), repeat=3) if sum(d) == slots]
    assert loads(chosen) == pytest.approx(min(map(loads, divisions)))


def test_adapmoe_measures_accuracy_on_recorded_predictions():
    experts = [[[0, 1], [2, 3]], [[0, 1], [2, 3]]]
    said = np.array([[[2, 3], [-1, -1]], [[2, 5], [-1, -1]]], np.int16)
    run = context(n_layers=2, trace=trace(experts, predicted=(said,)))
    policy = bound("partition", "adapmoe", run)
    assert policy.accuracies == [0.0, 0.75]
    assert policy.assumptions() == []
    assert policy.learns_beforehand
    prompt = replace(run.trace, phase=np.zeros(2, np.uint8))
    assert bound("partition", "adapmoe", replace(run, learnt=prompt)).accuracies == [0.0, 0.0]


def test_adapmoe_says_where_its_formula_is_extended():
    record = trace([[[0, 1, 2]], [[3, 4, 5]]])
    policy = bound("partition", {"name": "adapmoe", "accuracy": 0.8}, context(trace=record))
    assert "two experts a token to 3" in policy.assumptions()[1]
    assert not policy.learns_beforehand  # the accuracy is stated


@pytest.mark.parametrize(
    ("parameters", "says"),
    [({}, "no recorded predictions"), ({"accuracy": [0.5]}, "accuracy has 1 entries")],
)
def test_adapmoe_refuses_what_it_cannot_know(parameters, says):
    with pytest.raises(InputError, match=says):
        create("partition", {"name": "adapmoe", **parameters}).check(trace([TOKEN]))
    if not parameters:
        with pytest.raises(InputError, match=says):
            create("partition", "adapmoe").check_training(trace([TOKEN]))


def gating(weights, layers=1, **parameters):
    record = weighed([[[0, 1]] * layers], [weights])
    run = context(n_layers=layers, trace=record)
    return bound("routing", {"name": "adaptive-gating", **parameters}, run)


def test_adaptive_gating_drops_below_the_root_of_threshold_over_sensitivity():
    sensitivity = [1.0, 0.01]  # limits: sqrt(.01 / 1) = .1 and sqrt(.01 / .01) = 1
    policy = gating([[0.92, 0.08], [0.6, 0.4]], 2, threshold=0.01, sensitivity=sensitivity)
    assert list(policy.rewrite(event([0, 1]), [True, True])) == [0, -1]
    assert list(policy.rewrite(event([8, 9], layer=1), [False, False])) == [8, -1]  # the first stays
    prompt = Event(0, 0, [0, 1], [1, 1], [0.92, 0.08], (0,), decode=False)
    assert list(policy.rewrite(prompt, [True, True])) == [0, 1]
    assert policy.assumptions() == []


@pytest.mark.parametrize("limit", [0.05, 0.2, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("second", [0.04, 0.2, 0.35, 0.5])
def test_adaptive_gating_of_two_is_the_published_rule(limit, second):
    policy = gating([[1 - second, second]], threshold=limit**2, sensitivity=[1.0])
    weights = np.array([1 - second, second], np.float32).astype(float)
    assert list(policy.rewrite(event([0, 1]), [True, True])) == [0, 1 if weights[1] >= limit else -1]


def test_adaptive_gating_of_eight_bounds_the_sum_of_what_is_dropped():
    """Of .25 .2 .15 .1 .1 .08 .07 .05 the weakest add up to .05, .12, .2, .3: below .21 go three."""
    weights = [0.1, 0.25, 0.07, 0.15, 0.2, 0.05, 0.1, 0.08]  # by slot
    experts = list(range(8))
    record = weighed([[experts]], [[weights]])
    run = context(trace=record)
    dropped = {0.04: [], 0.06: [5], 0.13: [2, 5], 0.21: [2, 5, 7], 0.31: [2, 5, 6, 7], 2.0: [0, *range(2, 8)]}
    for limit, gone in dropped.items():
        spec = {"name": "adaptive-gating", "threshold": limit**2, "sensitivity": [1.0]}
        policy = bound("routing", spec, run)
        served = policy.rewrite(event(experts), [True] * 8)
        assert [key for key, by in zip(experts, served, strict=True) if by < 0] == gone
    assert "sum of the weakest of 8" in policy.assumptions()[0]


def test_adaptive_gating_knows_mixtral_and_assumes_its_mean_for_others():
    from policies.routing.adaptive_gating import MIXTRAL

    other = gating([[0.9, 0.1]])
    assert "assumed" in other.assumptions()[0]
    assert other.limits[0] == pytest.approx(
        float(Fraction(5, 1000) / 1) ** 0.5 / np.exp(np.log(MIXTRAL).mean() / 2)
    )
    record = weighed([[[0, 1]] * 32], [[[0.9, 0.1]] * 32])
    shaped = context(n_layers=32, trace=record)  # Mixtral's shape is not enough
    assert "assumed" in bound("routing", "adaptive-gating", shaped).assumptions()[0]
    known = bound("routing", "adaptive-gating", replace(shaped, model="Mixtral-8x7B-Instruct-v0.1"))
    assert known.assumptions() == []
    assert known.limits[:2] == pytest.approx([(0.005 / 46.692) ** 0.5, (0.005 / 17.303) ** 0.5])
    with pytest.raises(InputError, match="sensitivity has 1 entries"):
        create("routing", {"name": "adaptive-gating", "sensitivity": [1.0]}).check(record)


@pytest.mark.parametrize(("keep", "shares"), [("first", [80, 160, 0]), ("last", [0, 0, 240])])
def test_whole_layers_have_all_experts_or_none(keep, shares):
    policy = bound("partition", {"name": "whole-layers", "keep": keep}, context(n_layers=3))
    assert [capacity for capacity, _ in policy.pools(250, [10, 20, 30])] == shares


def test_assumptions_about_predictions_are_checked_only_where_they_are_used():
    predicted = trace([TOKEN], predicted=(NEXT,))
    create("prefetch", {"name": "gate-lookahead", "n_layers": 1}).check(predicted)
    create("prefetch", {"name": "gate-lookahead", "n_layers": 1, "accuracy": [0.9]}).check(trace([TOKEN]))
    create("partition", "adapmoe").check(predicted)
    create("routing", {"name": "adaptive-gating", "sensitivity": [1.0] * 3}).check(predicted)
    create("routing", "adaptive-gating").check(predicted)
    assumed = bound("partition", {"name": "adapmoe", "accuracy": 0.9}, context(trace=trace([TOKEN])))
    assert "assumes" in assumed.assumptions()[0]


def test_recorded_predictions_are_no_assumption_and_empty_ones_no_wish():
    policy = lookahead(trace([TOKEN], predicted=(NEXT,)))
    assert policy.assumptions() == []
    nothing = lookahead(trace([TOKEN], predicted=(np.full((1, 3, 2), -1, np.int16),)))
    assert list(nothing.wishes(event([0]), set())) == []


def test_all_layers_fit():
    policy = bound("partition", "whole-layers", context(n_layers=2))
    assert [capacity for capacity, _ in policy.pools(1000, [10, 20])] == [80, 160]


def test_one_precision_wants_version_0_of_everything():
    assert bound("precision", "fixed", context()).foreseen([[3, -1], [3, 4]], [[1, 0], [1, 1]], 0) == {
        3: 0,
        4: 0,
    }
