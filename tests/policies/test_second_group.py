"""Published systems, second group: what their policies choose, by hand; and known behaviour, as signs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from policies.base import Event, Eviction, Place, Placed
from simulator.errors import InputError
from tests.laws.played import Case, Outcome, play
from tests.policies.test_published_choices import Costs, weighed
from tests.policies.tools import bound, context, event, trace

GPU = "rtx4090-pcie4"


def step(
    keys: Sequence[int], *, tokens: Sequence[int] = (), mass: Sequence[float] = (), **of: object
) -> Event:
    """Return a decoding step of layer 0."""
    ones = [1] * len(keys)
    whole = {"decode": True, "layer": 0} | of
    return Event(
        0, whole["layer"], list(keys), list(tokens) or ones, list(mass) or ones, (0,), whole["decode"]
    )  # type: ignore[arg-type]


# -- HybriMoE: S = alpha TopP(s) + (1 - alpha) S; the split of a layer over CPU and GPU ---------------


def test_mrs_moves_towards_the_top_scores_and_lets_the_others_fade() -> None:
    seen = {"gate_top": np.array([[[0, 1, 2]], [[2, 0, 3]]], np.int16)}
    seen["gate_top_p"] = np.array([[[0.5, 0.25, 0.125]], [[0.75, 0.125, 0.0625]]], np.float32)
    record = weighed([[[0, 1]], [[2, 0]]], [[[0.5, 0.25]], [[0.75, 0.125]]], **seen)
    policy = bound("eviction", {"name": "mrs", "top": 2}, context(trace=record))
    policy.observe(event([0, 1]), [0, 1])
    assert policy.estimate[0, :4].tolist() == [0.25, 0.125, 0, 0]  # 2 is third: not of the top two
    policy.observe(event([2, 0], rows=(1,)), [2, 0])
    assert policy.estimate[0, :4].tolist() == [0.1875, 0.0625, 0.375, 0]
    policy.on_use([0, 1, 2], 0)
    assert [policy.victim(blocked) for blocked in ({}, {1}, {0, 1})] == [1, 0, 2]


def ends(fetched: Sequence[int], cpu: Sequence[int], tokens: dict[int, int], hits: Sequence[int]) -> int:
    """Return when CPU and GPU are done: a fetch takes 30, an expert 2 on the GPU, 10 a token on the CPU."""
    gpu, link = 2 * len(hits), 0
    for _ in fetched:
        link += 30
        gpu = max(gpu, link) + 2
    return max(gpu, sum(10 * tokens[key] for key in cpu))


@pytest.mark.parametrize("loads", [[1, 1, 1, 1], [9, 1, 1, 1], [8, 7, 6, 1], [1], [20, 20]])
def test_the_two_ended_schedule_is_as_short_as_any(loads: list[int]) -> None:
    missed, tokens = list(range(len(loads))), dict(enumerate(loads))
    run = replace(context(n_experts=16), costs=Costs(30, 2, 10))
    policy = bound("placement", "two-ended", run)
    placed = policy.place(step([*missed, 10], tokens=[*loads, 1]), missed, [True] * len(missed))
    chosen = [one.place is Place.FETCH for one in placed]
    best = min(
        ends(
            [k for k, f in zip(missed, some, strict=True) if f],
            [k for k, f in zip(missed, some, strict=True) if not f],
            tokens,
            [10],
        )
        for some in product([True, False], repeat=len(missed))
    )
    fetched = [k for k, f in zip(missed, chosen, strict=True) if f]
    assert ends(fetched, [k for k in missed if k not in fetched], tokens, [10]) == best
    assert all(tokens[f] >= tokens[c] for f in fetched for c in missed if c not in fetched)


def test_what_is_not_in_dram_is_fetched_by_both() -> None:
    run = replace(context(n_experts=16), costs=Costs(30, 2, 10))
    policy = bound("placement", "two-ended", run)
    assert [p.place for p in policy.place(step([1, 2]), [1, 2], [False, True])] == [Place.FETCH, Place.CPU]


def gate_scores(stay: float, tokens: int = 600, n: int = 16, k: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Return experts by score, and scores, of a gate whose logits drift: what was near is next."""
    draw = np.random.default_rng(3)
    logits, ranked, shares = draw.normal(size=n), [], []
    for _ in range(tokens):
        logits = stay * logits + np.sqrt(1 - stay**2) * draw.normal(size=n)
        p = np.exp(2 * logits) / np.exp(2 * logits).sum()
        order = np.argsort(-p, kind="stable")
        ranked.append([order[: 2 * k]])
        shares.append([p[order][: 2 * k]])
    return np.array(ranked, np.int16), np.array(shares, np.float32)


def lookups_found(policy: Eviction, experts: np.ndarray, slots: int) -> int:
    """Return the hits of one pool over single-token steps of one layer."""
    here: set[int] = set()
    found = 0
    for row, (chosen,) in enumerate(experts):
        keys = chosen.tolist()
        found += len(here & {*keys})
        policy.observe(event(keys, index=row, rows=(row,)), keys)
        policy.on_use(keys, row)
        here |= {*keys}
        while len(here) > slots:
            victim = policy.victim({*keys})
            assert victim is not None
            policy.on_evict(victim)
            here.discard(victim)
    return found


def test_mrs_is_above_lru_at_a_cache_of_a_quarter_to_a_half_where_the_gate_drifts() -> None:
    ranked, shares = gate_scores(0.9)
    chosen = ranked[:, :, :4]
    record = weighed(chosen, shares[:, :, :4], gate_top=ranked, gate_top_p=shares)
    run = context(n_experts=16, trace=record)
    for slots in (6, 8):
        mrs, lru = (lookups_found(bound("eviction", name, run), chosen, slots) for name in ("mrs", "lru"))
        assert mrs > lru


# -- KTransformers: deferral ----------------------------------------------------------------------


def test_the_least_weighty_three_quarters_are_deferred_but_not_in_the_last_layer_or_a_prompt() -> None:
    policy = bound("placement", "deferred", context(n_layers=2, n_experts=8))
    keys, mass = [3, 1, 0, 2], [0.1, 0.4, 0.3, 0.2]
    later, now, gone = Placed(Place.CPU, 1), Placed(Place.CPU), Placed()
    assert policy.place(step(keys, mass=mass), [3, 1, 2], [True] * 3) == [later, now, later]
    assert policy.place(step(keys, mass=mass), [3], [False]) == [gone]
    assert policy.place(step(keys, mass=mass, decode=False), [3], [True]) == [now]
    assert policy.place(step([11], mass=[1.0], layer=1), [11], [True]) == [now]


# -- Fate and ExpertFlow --------------------------------------------------------------------------


def test_shallow_layers_are_whole_and_the_others_alike() -> None:
    policy = bound("partition", {"name": "shallow-first", "layers": 1}, context(n_layers=3, n_experts=4))
    assert policy.pools(100, [10, 10, 10]) == [(40, (0,)), (30, (1,)), (30, (2,))]
    assert policy.pools(37, [10, 10, 10]) == [(30, (0,)), (0, (1,)), (0, (2,))]


def test_a_prompts_least_demanded_quarter_is_wanted_low() -> None:
    policy = bound("precision", "prompt-tail", context(n_versions=2))
    prompt = step([1, 2, 3, 4], tokens=[5, 1, 1, 7], decode=False)
    assert list(policy.wanted(prompt)) == [0, 0, 1, 0]
    assert list(policy.wanted(step([1, 2, 3, 4]))) == [0] * 4
    assert [policy.accepts(*pair) for pair in ((0, 1), (1, 0), (1, 1))] == [True, False, True]


def test_plec_takes_from_the_layer_that_is_due_last() -> None:
    policy = bound("eviction", "plec", context(n_layers=3, n_experts=8))
    for layer, keys in enumerate([[0, 1], [8], [16]]):
        policy.observe(event(keys, layer=layer, index=layer), keys)
        policy.on_use(keys, layer)
    policy.observe(event([], index=3), [])  # layer 0 again: 8 is due next, 16 then, 0 and 1 last
    assert [policy.victim(blocked) for blocked in ({}, {0}, {0, 1}, {0, 1, 16})] == [0, 1, 16, 8]


# -- predictors other than the gates ---------------------------------------------------------------


def test_a_stated_predictor_stands_beside_recorded_gates_and_a_stride_skips_the_nearest() -> None:
    record = trace([[[0], [1], [2]]], predicted=(np.array([[[7], [7], [-1]]], np.int16),))
    run = context(n_layers=3, trace=record)
    spec = {"name": "gate-lookahead", "n_layers": 2, "accuracy": [1.0, 1.0], "stated": True}
    found = bound("prefetch", spec, run).wishes(event([0]), set())
    assert [(wish.key, wish.layer) for wish in found] == [(9, 1), (18, 2)]
    policy = bound("prefetch", {**spec, "first": 2}, run)
    assert [wish.key for wish in policy.wishes(event([0]), set())] == [18]
    assert "of its own" in policy.assumptions()[0]
    with pytest.raises(InputError, match="no accuracy"):
        bound("prefetch", {"name": "gate-lookahead", "stated": True}, run).check(record)


# -- signs ------------------------------------------------------------------------------------------


def played(system: str, batch: int = 1, **settings: object) -> Outcome:
    return play(Case(system, GPU, batch), **settings)  # type: ignore[arg-type]


def rate(run: Outcome) -> float:
    return run.total("hits") / run.total("lookups")


def test_plec_is_above_lru_and_more_so_as_the_batch_grows() -> None:
    """Paper: 91.9 % against 76.6 % at a batch of 4, 85.9 % against 58.4 % at 16."""
    leads = []
    for batch in (2, 4):
        memory = {"memory": {"gpu_expert_cache": {"fraction": 0.5}}}
        plec = rate(played("expertflow", batch, **memory))
        leads.append(plec - rate(played("lru-on-demand", batch, **memory)))
    assert 0 < leads[0] < leads[1]


def test_deferral_hides_the_cpus_time() -> None:
    now = played("ktransformers", policies={"placement": "cpu"})
    later = played("ktransformers")
    assert later.total("deferred") > 0 == now.total("deferred")
    assert later.total("cpu_wait_ns") < now.total("cpu_wait_ns")
    assert later.end_ns < now.end_ns


def test_a_stride_of_two_is_less_accurate_and_more_timely() -> None:
    """Of the prefetches that start, fewer are right; of the right ones, fewer are late."""
    spec = {"name": "gate-lookahead", "n_layers": 2, "accuracy": [0.847, 0.797], "stated": True}
    near = played("promoe", policies={"prefetch": spec | {"n_layers": 1}})
    far = played("promoe")
    assert far.total("late") / max(1, far.total("hits")) < near.total("late") / max(1, near.total("hits"))


def test_pre_gating_hides_one_block_and_no_more() -> None:
    """What it saves is at most the time of the blocks in which it loads: dense work and experts."""
    alone = played("pre-gated-moe", policies={"prefetch": "none"})
    gated = played("pre-gated-moe")
    saved = alone.end_ns - gated.end_ns
    assert 0 < saved <= sum(r.dense_ns + r.expert_ns for r in alone.records)
