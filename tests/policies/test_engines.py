"""What the engines of 2026 choose, by hand from their code; and what is known of them, as signs."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from policies.base import Event, Place, Wish
from policies.placement.fetch_share import balanced
from simulator.experiment.systems import system_names
from tests.laws.played import Case, Outcome, play
from tests.policies.test_published_choices import Costs
from tests.policies.tools import bound, context, hits

GPU = "rtx4090-pcie4"


def step(keys: list[int], index: int = 0, *, mass: list[float] | None = None, decode: bool = True) -> Event:
    """Return a step of a layer of 16 experts."""
    return Event(index, 0, keys, [1] * len(keys), mass or [1.0] * len(keys), (0,), decode=decode)


# -- FreeToken: the share of misses that is fetched -----------------------------------------------


@pytest.mark.parametrize(
    ("link", "cpu", "percent"),
    [(23.9, 54.0, 30.7), (8.41, 21.89, 27.8)],  # GB/s that overlap, and the share: PR 232, issue 436
)
def test_the_share_is_the_links_rate_over_both(link: float, cpu: float, percent: float) -> None:
    one_gb = 10**9
    fetched = balanced(1000, int(one_gb / link), int(one_gb / cpu))
    assert fetched / 1000 == pytest.approx(percent / 100, abs=0.0015)


def test_the_share_is_rounded_to_the_earlier_end() -> None:
    for n in range(1, 9):
        for fetch, cpu in ((30, 10), (10, 30), (7, 7), (5, 2)):
            ends = [max(f * fetch, (n - f) * cpu) for f in range(n + 1)]
            assert max(balanced(n, fetch, cpu) * fetch, (n - balanced(n, fetch, cpu)) * cpu) == min(ends)
    assert balanced(1, 7, 7) == 0  # a tie goes to the CPU


def test_those_used_last_are_fetched_and_prompts_all() -> None:
    run = replace(context(n_experts=16), costs=Costs(30, 1, 10))  # a quarter is fetched
    policy = bound("placement", "fetch-share", run)
    policy.place(step([5], 0), [5], [True])
    policy.place(step([7], 1), [7], [True])
    missed = [3, 5, 6, 7]
    placed = [p.place for p in policy.place(step(missed, 2), missed, [True] * 4)]
    assert placed == [Place.CPU, Place.CPU, Place.CPU, Place.FETCH]
    placed = [p.place for p in policy.place(step(missed, 3, decode=False), missed, [True] * 4)]
    assert placed == [Place.FETCH] * 4
    placed = [p.place for p in policy.place(step([1, 2], 4), [1, 2], [True, False])]
    assert placed == [Place.CPU, Place.FETCH]  # 2 is not in DRAM; a quarter of one is none


def test_the_least_weighty_go_to_the_cpu_if_they_are_missed() -> None:
    policy = bound("placement", {"name": "least-weighty", "most": 2}, context(n_experts=16))
    weighed = step([4, 1, 2, 3], mass=[0.1, 0.5, 0.1, 0.3])
    placed = [p.place for p in policy.place(weighed, [4, 1, 3], [True] * 3)]
    assert placed == [Place.CPU, Place.FETCH, Place.FETCH]  # 2, the other light one, was found


def test_uploads_are_the_first_misses_for_the_layers_next_step() -> None:
    policy = bound("prefetch", {"name": "uploads", "most": 2}, context(n_layers=3, n_experts=16))
    assert policy.wishes(step([1, 2, 3, 4]), {2}) == []
    found = policy.wishes(replace(step([17, 18], 1), layer=1), {2, 18})
    assert [(wish.key, wish.layer) for wish in found] == [(1, 2), (3, 2)]  # layer 0 of the next pass
    assert [(w.key, w.layer) for w in policy.wishes(replace(step([33], 2), layer=2), {17})] == []
    assert policy.wishes(step([1], 3), set()) == [Wish(33, 2)]
    policy.wishes(step([2], 6, decode=False), set())
    assert policy.wishes(replace(step([17], 7), layer=1), set()) == []  # prompts upload nothing


def test_what_a_prompt_loads_displaces_nobody() -> None:
    policy = bound("eviction", {"name": "prompts-pass-by", "inner": "lru"}, context(n_experts=16))
    policy.on_use([1, 2], 0)
    policy.observe(step([3], 1, decode=False), [3])
    assert policy.victim({}) is None
    policy.observe(step([3], 2), [3])
    assert policy.victim({}) == 1


# -- signs: known behaviour, on synthetic routing ---------------------------------------------------


def routed(skew: float, stay: float, n: int = 32, k: int = 4, tokens: int = 400) -> list[list[int]]:
    """Return steps of a layer: Zipf popularity of exponent ``skew``; each stays with probability ``stay``."""
    draw = np.random.default_rng(7)
    share = 1 / np.arange(1, n + 1) ** skew
    share /= share.sum()
    steps = [draw.choice(n, k, replace=False, p=share).tolist()]
    while len(steps) < tokens:
        kept = [key for key in steps[-1] if draw.random() < stay]
        others = [key for key in draw.choice(n, n, replace=False, p=share).tolist() if key not in kept]
        steps.append(kept + others[: k - len(kept)])
    return steps


def count(name: str, steps: list[list[int]], slots: int) -> int:
    """Return how many of the steps' experts were found."""
    found: int = sum(hits(name, steps, slots, n_experts=128))
    return found


def test_lfru_with_8_is_above_lru_with_16_where_frequency_is_skewed() -> None:
    """Pull request 37190 of vLLM. Four experts come back after 20 others, which come back late."""
    others = itertools.cycle(range(4, 128))
    skewed = [[0, 1, 2, 3] if at % 6 == 0 else [next(others) for _ in range(4)] for at in range(600)]
    assert count("lfru", skewed, 8) > count("lru", skewed, 16)
    flat = routed(0.0, 0.6)
    assert count("lfru", flat, 8) < count("lru", flat, 16)


def test_pinning_the_popular_half_loses_to_lru_on_flat_routing() -> None:
    """Pull request 2061 of imp. The popular half is that of the first 200 steps."""
    steps = routed(0.0, 0.6)
    learnt = np.bincount(np.concatenate(steps[:200]), minlength=32)
    pinned = set(np.argsort(-learnt, kind="stable")[:16].tolist())
    static = sum(key in pinned for keys in steps[200:] for key in keys)
    lru = count("lru", steps, 16) - count("lru", steps[:200], 16)
    assert static < lru


def played(system: str, **settings: object) -> Outcome:
    return play(Case(system, GPU, 1), **settings)  # type: ignore[arg-type]


def test_uploads_hide_beside_the_cpu_and_raise_hits() -> None:
    """Pull request 27861 of llama.cpp: 18.4 to 24.2 tok/s. Without uploads nothing enters the cache."""
    few = played("llama-cpp-moe-cache", policies={"prefetch": "none"})
    two = played("llama-cpp-moe-cache")
    assert two.total("hits") > few.total("hits")
    assert two.end_ns < few.end_ns
    assert two.started > 0 == few.started


def test_a_share_fetched_is_no_slower_than_all_or_nothing() -> None:
    both = played("freetoken-hybrid").end_ns
    assert both < 1.01 * min(
        played("freetoken-offload").end_ns, played("freetoken-hybrid", policies={"placement": "cpu"}).end_ns
    )


def test_prompts_that_pass_by_cost_decoding_less_than_prompts_that_evict() -> None:
    """Pull request 1408 of imp: fewer misses, little speed."""

    def decoding(**policies: str) -> tuple[int, int]:
        run = played(
            "imp",
            policies=policies,
            workload={"batch_size": 1, "max_sequences": 6, "max_decode_tokens": 8},
            memory={"gpu_expert_cache": {"fraction": 0.4}},
        )
        steps = [r for r in run.records if r.lookups <= 16 * 8]  # one token of 16 layers, 8 experts each
        return sum(r.lookups - r.hits for r in steps), sum(r.end_ns - r.start_ns for r in steps)

    misses, ns = decoding()
    evicting, longer = decoding(eviction="lru")
    assert misses < evicting
    assert ns < longer


def test_the_engines_of_2026_are_there() -> None:
    engines = {
        "llama-cpp-moe-cache", "imp", "freetoken-offload", "freetoken-hybrid", "exllamav3-stream",
        "vllm-expert-cache", "colibri", "flash-moe", "big-moe-on-edge",
    }  # fmt: skip
    assert engines <= set(system_names())
