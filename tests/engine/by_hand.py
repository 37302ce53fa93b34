"""Runs small enough to be worked out by hand; the arithmetic stands beside each.

Unless a test says otherwise: 10 bytes an expert, links of 1 byte/ns without latency, 5 ns of compute
an expert, no dense work, one layer of 4 experts, room for everything, LRU, two tiers. ``up`` is the
link from DRAM to the GPU, ``down`` the other way, ``ssd`` the one from the SSD to DRAM.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from simulator.engine.demand import Launches
from simulator.engine.plan import LinkPlan, MachinePlan, RuntimePlan

from .scenario import PassSpec, Result, Scenario

GB = 10**9  # one byte a nanosecond
PLENTY = 1000
UP = LinkPlan("up", 1, 0, GB)
DOWN = LinkPlan("down", 0, 1, GB)
SSD = LinkPlan("ssd", 2, 1, GB)
Run = Callable[[Scenario], Result]
Demand = Sequence[int | tuple[int, int]]


def launches(
    seen: Sequence[bool],
    *,
    dense: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0),
    experts: int = 0,
    expert: int = 0,
    start: int = 0,
) -> Launches:
    """Say what issue costs, the same in every layer; ``seen`` has an entry a layer, ``dense`` is as below."""
    n = len(seen)
    prologue, before, after, combine, epilogue = dense
    return Launches(
        prologue_ns=prologue,
        epilogue_ns=epilogue,
        before_ns=(before,) * n,
        after_ns=(after,) * n,
        experts_ns=(experts,) * n,
        expert_ns=(expert,) * n,
        combine_ns=(combine,) * n,
        experts_start_ns=(start,) * n,
        seen=seen,
    )


def scenario(  # noqa: PLR0913 - every test names the one thing that it changes
    *passes: Sequence[Demand],
    links: tuple[LinkPlan, ...] = (UP, DOWN),
    gpu: int = PLENTY,
    cpu: int | None = None,
    runtime: RuntimePlan | None = None,
    dense: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0),
    expert_bytes: int = 10,
    expert_ns: int = 5,
    token_ns: int = 0,
    cpu_ns: int = 1,
    activation_bytes: int = 0,
    dram: int = 0,
    wishes: Mapping[int, tuple[tuple[int, int], ...]] | None = None,
    on_cpu: Mapping[int, Mapping[int, int]] | None = None,
    launches: Launches | None = None,
) -> Scenario:
    """Build a run; a pass is a demand by layer, ``cpu`` the capacity of DRAM before an SSD.

    ``dense`` is (prologue, before, after, combine, epilogue).
    """
    n = len(passes[0])
    prologue, before, after, combine, epilogue = dense
    specs = [
        PassSpec(
            prologue_ns=prologue,
            epilogue_ns=epilogue,
            before_ns=(before,) * n,
            after_ns=(after,) * n,
            combine_ns=(combine,) * n,
            demands=tuple(tuple(d if isinstance(d, tuple) else (d, 1) for d in layer) for layer in layers),
            launches=launches,
        )
        for layers in passes
    ]
    capacities = [gpu] if cpu is None else [gpu, cpu]
    return Scenario(
        machine=MachinePlan(("gpu", "cpu", "ssd")[: len(capacities) + 1], links, dram),
        runtime=runtime or RuntimePlan(),
        n_layers=n,
        n_experts=4,
        expert_bytes=(expert_bytes,) * n,
        pools=tuple(((capacity, tuple(range(n))),) for capacity in capacities),
        eviction=("lru",) * len(capacities),
        passes=tuple(specs),
        expert_ns=(expert_ns,) * n,
        expert_token_ns=token_ns,
        cpu_expert_ns=(cpu_ns,) * n,
        activation_bytes=activation_bytes,
        wishes=wishes or {},
        on_cpu=on_cpu or {},
    )


def ends(result: Result) -> list[int]:
    return [p.end_ns for p in result.passes]
