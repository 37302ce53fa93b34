"""Reuse, popularity, distances and foresight against oracles that count in plain Python, row by row."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction
from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.engine.replay import replay
from simulator.errors import InputError
from simulator.trace.core import Trace, TraceHeader
from simulator.trace.info import lag1_reuse, top_share
from simulator.trace.locality.analyse import Locality, analyse
from simulator.trace.locality.bootstrap import Bootstrap, quotient
from simulator.trace.locality.routing import WINDOW, Routing, Window, select
from simulator.trace.validate import validate
from tests.policies.tools import bound, context


def made(lengths, *, layers=2, experts=6, k=2, seed=0, missing=0.0, ahead=0, phases=None):
    """Return a valid trace of sequences of these lengths, some experts more popular than others."""
    rng = np.random.default_rng(seed)
    n_tokens = sum(lengths)

    def ids():
        keys = rng.exponential(size=(n_tokens, layers, experts)) * (1 + np.arange(experts))
        return keys.argsort(axis=2)[:, :, :k].astype(np.int16)

    chosen, predicted = ids(), tuple(ids() for _ in range(ahead))
    chosen[rng.random((n_tokens, layers)) < missing] = -1
    for depth, array in enumerate(predicted, start=1):
        array[:, max(layers - depth, 0) :] = -1
    trace = Trace(
        header=TraceHeader(
            model="m", n_layers=layers, n_experts=experts, top_k=k, moe_layers=tuple(range(layers)),
            n_model_layers=layers, recorder="test",
        ),
        sequence=np.repeat(np.arange(len(lengths)), lengths).astype(np.int32),
        position=np.concatenate([np.arange(n) for n in lengths]).astype(np.int32),
        phase=np.array(phases if phases is not None else [1] * n_tokens, np.uint8),
        experts=chosen,
        predicted=predicted,
    )  # fmt: skip
    validate(trace)
    return trace


@st.composite
def traces(draw, longest=9, ahead=0):
    experts = draw(st.integers(1, 6))
    return made(
        draw(st.lists(st.integers(1, longest), min_size=1, max_size=4)),
        layers=draw(st.integers(1, 3)),
        experts=experts,
        k=draw(st.integers(1, min(experts, 3))),
        seed=draw(st.integers(0, 999)),
        missing=draw(st.sampled_from([0.0, 0.2, 1.0])),
        ahead=ahead,
    )


def plain(trace: Trace) -> list[list[list[list[int] | None]]]:
    """Return a trace as lists: sequence, token, layer; None for a row that was not recorded."""
    return [
        [
            [None if row[0] < 0 else row.tolist() for row in token]
            for token in trace.experts[trace.sequence == n]
        ]
        for n in np.unique(trace.sequence)
    ]


def at(found: Locality, statistic: str, **where: float | None) -> float | None:
    """Return the value of the one row of a statistic at these parameters."""
    where = {"layer": None, "lag": None, "distance": None, "m": None, "rho": None, "size": None, **where}
    rows = [r for r in found.rows if r.statistic == statistic]
    rows = [r for r in rows if all(getattr(r, name) == value for name, value in where.items())]
    assert len(rows) == 1, (statistic, where)
    return rows[0].value


def same(value: float | None, expected: Fraction | float | None) -> bool:
    if value is None or expected is None:
        return value is None and expected is None
    return math.isclose(value, float(expected), abs_tol=1e-9)


def mean_of(values: list[Fraction]) -> Fraction | None:
    return sum(values, Fraction()) / len(values) if values else None


@settings(max_examples=60)
@given(trace=traces(), lag=st.integers(1, 9))
def test_reuse_counts_pairs_of_recorded_rows_in_a_sequence(trace, lag):
    k = trace.header.top_k
    pairs = [
        Fraction(len({*a} & {*b}), k)
        for tokens in plain(trace)
        for before, after in zip(tokens, tokens[lag:], strict=False)
        for a, b in zip(before, after, strict=True)
        if a and b
    ]
    found = analyse(trace)
    assert same(at(found, "reuse", lag=lag), mean_of(pairs))
    if pairs:
        assert at(found, "reuse_uniform", lag=lag) == k / trace.header.n_experts
        assert found.value("reuse", lag=1) == lag1_reuse(trace, np.ones(trace.n_tokens, bool))
    else:
        assert found.of("reuse", lag=lag).note == "no two tokens that far apart"


def test_the_shuffled_baselines_are_the_mean_over_all_orders():
    trace = made([3, 2], layers=1, experts=4, seed=3)
    found = analyse(trace)

    def reuse(sequences):
        pairs = [(a[0], b[0]) for tokens in sequences for a, b in pairwise(tokens)]
        return Fraction(sum(len({*a} & {*b}) for a, b in pairs), 2 * len(pairs))

    first, second = plain(trace)
    within = [reuse([x, y]) for x in permutations(first) for y in permutations(second)]
    everywhere = [reuse([order[:3], order[3:]]) for order in permutations(first + second)]
    assert same(at(found, "reuse_shuffled_in_sequence", lag=1), mean_of(within))
    assert same(at(found, "reuse_shuffled", lag=1), mean_of(everywhere))
    assert same(at(found, "reuse_shuffled", lag=2), mean_of(everywhere))


def test_a_gap_in_positions_parts_tokens():
    trace = made([4], layers=1)
    trace.position[2:] += 5
    found = analyse(trace)
    assert found.value("reuse", lag=2) is None
    assert found.routing.windows == (Window(0, 2, 0), Window(2, 4, 0))


@settings(max_examples=40)
@given(trace=traces())
def test_popularity_by_layer(trace):
    found, n_experts = analyse(trace), trace.header.n_experts
    for layer in range(trace.header.n_layers):
        rows = [token[layer] for tokens in plain(trace) for token in tokens if token[layer]]
        uses = Counter(expert for row in rows for expert in row)
        shares = [n / uses.total() for n in uses.values()]
        entropy = sum(p * math.log(1 / p) for p in shares) / math.log(n_experts) if n_experts > 1 else None
        assert same(at(found, "entropy", layer=layer), entropy if uses else None)
        top = max(uses.values(), default=0)  # ceil(E / 10) is one expert here
        assert same(at(found, "top_share", layer=layer), top / uses.total() if uses else None)
    assert found.value("top_share") == top_share(trace, np.ones(trace.n_tokens, bool))


@settings(max_examples=60)
@given(trace=traces())
def test_distances_and_lru_against_a_list_of_recent_experts(trace):
    found, header = analyse(trace), trace.header
    for layer in range(header.n_layers):
        recent: list[int] = []
        distances: Counter[int | None] = Counter()
        for row in [token[layer] or [] for tokens in plain(trace) for token in tokens]:
            distances.update([recent.index(e) if e in recent else None for e in row])
            for expert in row:
                recent = [expert, *[e for e in recent if e != expert]]
        for distance in [*range(header.n_experts), None]:
            share = distances[distance] / distances.total() if distances else None
            assert same(at(found, "reuse_distance", layer=layer, distance=distance), share)
        for size in range(header.top_k, header.n_experts + 1):
            hits = sum(n for d, n in distances.items() if d is not None and d < size)
            share = hits / distances.total() if distances else None
            assert same(at(found, "lru_hit_rate", layer=layer, size=size), share)


@settings(max_examples=30)
@given(trace=traces())
def test_lru_is_what_the_simulator_replays_token_by_token(trace):
    found, header = analyse(trace), trace.header
    steps = [
        (layer, [layer * header.n_experts + expert for expert in row])
        for tokens in plain(trace)
        for token in tokens
        for layer, row in enumerate(token)
        if row
    ]
    for size in range(header.top_k, header.n_experts + 1):
        known = context(n_layers=header.n_layers, n_experts=header.n_experts)
        hits = replay(
            [keys for _, keys in steps],
            [layer for layer, _ in steps],
            [(size, [layer]) for layer in range(header.n_layers)],
            [1] * header.n_layers,
            lambda known=known: bound("eviction", "lru", known),
        )
        total = sum(len(keys) for _, keys in steps)
        assert same(found.value("lru_hit_rate", size=size), sum(hits) / total if total else None)


@settings(max_examples=60)
@given(trace=traces())
def test_the_next_layer_is_foretold_from_pairs_that_were_seen(trace):
    found, header = analyse(trace), trace.header
    sequences = plain(trace)
    learnt, tried = sequences[::2], sequences[1::2]
    if len(sequences) == 1:
        half = len(sequences[0]) // 2
        learnt, tried = [sequences[0][:half]], [sequences[0][half:]]
    for layer in range(1, header.n_layers):

        def pairs(part, layer=layer):
            return [(t[layer - 1], t[layer]) for s in part for t in s if t[layer - 1] and t[layer]]

        seen, test = pairs(learnt), pairs(tried)
        times = Counter(e for before, _ in seen for e in before)
        both = Counter((e, f) for before, after in seen for e in before for f in after)
        popular = Counter(f for _, after in seen for f in after)

        def foretold(score, k=header.top_k, n=header.n_experts):
            return set(sorted(range(n), key=score, reverse=True)[:k])  # sorted keeps the order of ties

        right = even = 0
        for before, after in test:
            known = [e for e in before if times[e]]
            given_them = {
                f: sum((Fraction(both[e, f], times[e]) for e in known), Fraction())
                for f in range(header.n_experts)
            }
            right += len(foretold(given_them.__getitem__) & {*after})
            even += len(foretold(popular.__getitem__) & {*after})
        n = header.top_k * len(test) if seen else 0
        assert same(at(found, "next_layer", layer=layer), right / n if n else None)
        assert same(at(found, "next_layer_popularity", layer=layer), even / n if n else None)


def test_the_next_layer_that_follows_from_the_last_is_foretold():
    trace = made([200, 20], layers=2, experts=6, k=1)
    trace.experts[:, 1] = (trace.experts[:, 0] + 1) % 6
    found = analyse(trace)
    assert found.value("next_layer") == 1.0
    assert found.value("next_layer_popularity") < 1.0


@settings(max_examples=40)
@given(trace=traces(ahead=2))
def test_recorded_predictions_by_distance(trace):
    found, header = analyse(trace), trace.header
    for distance in (1, 2):
        right: list[Fraction] = []
        for token, ids in zip(trace.experts.tolist(), trace.predicted[distance - 1].tolist(), strict=True):
            for layer in range(header.n_layers - distance):
                actual, guess = {*token[layer + distance]}, {*ids[layer]}
                if -1 not in actual and -1 not in guess:
                    right.append(Fraction(len(actual & guess), header.top_k))
        assert same(at(found, "prediction_accuracy", distance=distance), mean_of(right))


def test_phases_are_told_apart():
    trace = made([6, 4], phases=[0, 0, 0, 1, 1, 1, 0, 0, 1, 1])
    assert [select(trace, phase).shape[0] for phase in ("all", "prefill", "decode")] == [10, 5, 5]
    decode = select(trace, "decode")
    assert decode.windows == (Window(0, 3, 0), Window(3, 5, 1))
    with pytest.raises(InputError, match="no prefill tokens"):
        select(made([3]), "prefill")


def test_long_sequences_are_cut_and_short_ones_are_whole():
    routing = select(made([2 * WINDOW + 7, 30, WINDOW], layers=1), "all")
    assert [w.stop - w.start for w in routing.windows] == [WINDOW, WINDOW, 30, WINDOW]
    assert [w.sequence for w in routing.windows] == [0, 0, 1, 2]
    assert routing.windows[2].start == 2 * WINDOW + 7
    assert routing.describe_windows() == (
        "3 of 512 tokens, 1 whole, 30 tokens; 7 tokens past the last whole window are left out"
    )
    assert select(made([WINDOW], layers=1), "all").describe_windows() == "1 of 512 tokens"


def test_sums_by_sequence_stop_where_values_do():
    routing = Routing(np.zeros((5, 1, 1), np.int16), (), np.array([0, 0, 1, 1, 2]), np.array([0] * 5), 1)
    assert routing.by_sequence(np.array([1, 2, 3])).tolist() == [3, 3, 0]
    assert routing.by_sequence(np.zeros(0)).tolist() == [0, 0, 0]


def test_intervals_are_the_basic_bootstrap_of_sequences():
    totals = np.array([[1, 4], [3, 4], [2, 4], [0, 0]])
    low, high = Bootstrap(4).interval(totals, quotient)
    assert 0 <= low < 0.5 < high <= 1
    assert Bootstrap(4).interval(totals, quotient) == (low, high)  # always the same resamples
    assert Bootstrap(1).interval(totals[:1], quotient) == (None, None)
    assert Bootstrap(4).interval(totals * [[1], [0], [0], [1]], quotient) == (None, None)
    same_again = np.array([[1, 4]] * 5)
    assert Bootstrap(5).interval(same_again, quotient) == (0.25, 0.25)


def test_intervals_cover_the_truth():
    """Of 200 sets of 30 sequences with a known mean, the 95 % interval holds it in 88 to 99 %."""
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        hits = rng.binomial(20, rng.beta(6, 4, 30))
        low, high = Bootstrap(30).interval(np.stack([hits, np.full(30, 20)], axis=1), quotient)
        covered += low <= 0.6 <= high
    assert 0.88 <= covered / 200 <= 0.99


@pytest.mark.parametrize("shape", [([1], 1, 1, 1), ([1], 3, 4, 2), ([5], 1, 2, 2), ([1, 1, 1], 2, 3, 1)])
def test_the_smallest_traces_have_rows_with_reasons(shape):
    lengths, layers, experts, k = shape
    found = analyse(made(lengths, layers=layers, experts=experts, k=k, ahead=1))
    for row in found.rows:
        if row.statistic in {"reuse", "srp", "sch"} and row.layer is None and row.low is None:
            assert row.note, row
        assert row.value is None or 0 <= row.value <= 1 or row.statistic == "srp_rho"
