"""The merged path equals the general one in all that it reports."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.engine.plan import LinkPlan, MachinePlan, Overhead, RuntimePlan

from .adapter import run_engine
from .scenario import PassSpec, Result, Scenario, Script
from .strategies import all_launches, sometimes

GB = 10**9
NS = st.sampled_from([0, 1, 2, 5, 10])


@st.composite
def plain_scenarios(draw: st.DrawFn) -> Scenario:
    """Two tiers, one serial link, demand only; and unions over tokens and launches, which are handed over."""
    n_layers, n_experts = draw(st.integers(1, 4)), draw(st.integers(2, 6))
    sizes = tuple(draw(st.lists(st.sampled_from([1, 2, 5, 10]), min_size=n_layers, max_size=n_layers)))
    uses_dram = draw(st.booleans())
    link = LinkPlan(
        "cpu_to_gpu", 1, 0, draw(st.sampled_from([GB, 2 * GB, GB // 2, GB // 3])), latency_ns=draw(NS),
        align_bytes=draw(st.sampled_from([0, 4])), uses_dram=uses_dram,
    )  # fmt: skip
    dram = draw(st.sampled_from([0, GB, GB // 4]))
    layers = tuple(range(n_layers))
    capacity = st.integers(0, 40)
    if draw(st.booleans()):
        pools: tuple[tuple[int, tuple[int, ...]], ...] = ((draw(capacity), layers),)
    else:
        pools = tuple((draw(capacity), (layer,)) for layer in layers)
    tokens = draw(st.sampled_from([1, 1, 1, 2]))

    def demand(layer: int) -> st.SearchStrategy[tuple[tuple[int, int], ...]]:
        experts = st.lists(st.integers(0, n_experts - 1), unique=True, max_size=3)
        return experts.map(lambda found: tuple((layer * n_experts + e, tokens) for e in found))

    def one_pass() -> PassSpec:
        dense = [tuple(draw(st.lists(NS, min_size=n_layers, max_size=n_layers))) for _ in range(3)]
        return PassSpec(
            draw(NS), draw(NS), dense[0], dense[1], dense[2], tuple(draw(demand(x)) for x in layers),
            draw(sometimes(all_launches(n_layers), otherwise=None)),
        )  # fmt: skip

    return Scenario(
        machine=MachinePlan(("gpu", "cpu"), (link,), dram),
        runtime=RuntimePlan(overhead=Overhead(pass_ns=draw(NS))),
        n_layers=n_layers,
        n_experts=n_experts,
        expert_bytes=sizes,
        pools=(pools,),
        eviction=(draw(st.sampled_from(["lru", "fifo", "lfu", "random"])),),
        passes=tuple(one_pass() for _ in range(draw(st.integers(1, 6)))),
        expert_ns=tuple(draw(st.lists(NS, min_size=n_layers, max_size=n_layers))),
        expert_token_ns=draw(st.sampled_from([0, 3])),
    )


@settings(max_examples=400, deadline=None)
@given(plain_scenarios(), st.dictionaries(st.integers(1, 5), st.integers(0, 40), max_size=2))
def test_merged_equals_general(scenario: Scenario, caches: dict[int, int]) -> None:
    scenario = replace(scenario, script=Script(caches=caches))
    general = run_engine(scenario)
    merged = run_engine(scenario, merge=True)
    n = scenario.n_layers
    per_pass = replace(
        general,
        hits=tuple(sum(general.hits[i : i + n]) for i in range(0, len(general.hits), n)),
        fetched=tuple(sum(general.fetched[i : i + n]) for i in range(0, len(general.fetched), n)),
        found_in_dram=merged.found_in_dram,  # by event in one, not kept in the other
    )
    assert _shares_rounded(merged) == _shares_rounded(per_pass)


def _shares_rounded(found: Result) -> Result:
    """Round the weight of used experts: one path adds it by expert, the other by layer."""
    return replace(
        found,
        passes=tuple(
            replace(p, counts={name: round(n, 9) for name, n in p.counts.items()}) for p in found.passes
        ),
    )
