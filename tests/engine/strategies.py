"""Small scenarios full of ties, over all features; simple values first, so that failures shrink well."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TypeVar

from hypothesis import strategies as st

from policies.base import UNWANTED
from simulator.engine.demand import Launches
from simulator.engine.plan import HostPlan, LinkPlan, MachinePlan, Overhead, RuntimePlan

from .scenario import PassSpec, Scenario, Script

T = TypeVar("T")
U = TypeVar("U")
GB = 10**9  # bytes/s: one byte a nanosecond

rates = st.sampled_from([GB, 2 * GB, GB // 2])
EVICTIONS = ["lru", "fifo", "lfu", "random", "decayed-lfu", "lfru", "least-stale", "preloading"]
some_ns = st.sampled_from([0, 1, 2, 5, 10])
host_ns = st.sampled_from([0, 0, 1, 2, 5, 40])


def sometimes(value: st.SearchStrategy[T], otherwise: U) -> st.SearchStrategy[T | U]:
    """Return ``otherwise``, or now and then a drawn value."""
    return st.one_of(st.just(otherwise), st.just(otherwise), value)


@st.composite
def link_plans(draw: st.DrawFn, source: int, target: int, *, reads_last_tier: bool) -> LinkPlan:
    lanes = draw(st.sampled_from([1, 1, 2, 3]))
    table: tuple[tuple[int, int, int], ...] = ()
    if draw(sometimes(st.booleans(), otherwise=False)):
        table = tuple((block, n, draw(rates) * n) for block in (2, 5) for n in (1, 2))
    return LinkPlan(
        name=f"t{source}_t{target}",
        source=source,
        target=target,
        bytes_per_s=draw(rates),
        latency_ns=draw(st.sampled_from([0, 0, 1, 2, 5])),
        lanes=lanes,
        lane_bytes_per_s=draw(sometimes(rates, otherwise=0)),
        table=table,
        chunk_bytes=draw(st.sampled_from([0, 2, 3, 5, 1])),
        preemption=draw(st.sampled_from(["chunk", "chunk", "none"])),
        split=draw(st.booleans()),
        align_bytes=draw(sometimes(st.sampled_from([2, 4]), otherwise=0)) if reads_last_tier else 0,
        copy_bytes_per_s=draw(sometimes(rates, otherwise=0)),
        uses_dram=draw(st.booleans()),
    )


@st.composite
def machine_plans(draw: st.DrawFn, n_tiers: int) -> MachinePlan:
    ways = [(1, 0), (0, 1), (2, 1)][: n_tiers if n_tiers == 3 else 2]
    links = [draw(link_plans(a, b, reads_last_tier=a == n_tiers - 1)) for a, b in ways]
    return MachinePlan(
        tiers=("gpu", "cpu", "ssd")[:n_tiers],
        links=tuple(draw(st.permutations(links))),
        dram_bytes_per_s=draw(sometimes(st.sampled_from([GB, 2 * GB, 3 * GB, GB // 2]), otherwise=0)),
    )


@st.composite
def tensors_of(
    draw: st.DrawFn, sizes: tuple[tuple[int, ...], ...]
) -> tuple[tuple[tuple[int, ...], ...], ...]:
    """Cut the experts of each layer in one to three tensors of a byte or more, as many in each version."""
    found = []
    for of_layer in zip(*sizes, strict=True):
        n_cuts = draw(st.integers(0, min(2, *(size - 1 for size in of_layer), 2)))
        of_versions = []
        for size in of_layer:
            inside = st.integers(1, max(1, size - 1))
            cuts = draw(st.sets(inside, min_size=n_cuts, max_size=n_cuts)) if n_cuts else set()
            of_versions.append(tuple(b - a for a, b in pairwise([0, *sorted(cuts), size])))
        found.append(tuple(of_versions))
    return tuple(found)


@st.composite
def host_plans(draw: st.DrawFn) -> HostPlan:
    return HostPlan(
        round_trip_ns=draw(host_ns),
        lookup_ns=draw(host_ns),
        miss_ns=draw(host_ns),
        evict_ns=draw(host_ns),
        copy_ns=draw(host_ns),
        activations_ns=draw(host_ns),
        group_ns=draw(host_ns),
        blocking=draw(st.booleans()),
    )


@st.composite
def all_launches(draw: st.DrawFn, n_layers: int) -> Launches:
    """Draw what the issue of a pass costs, and which layers the host sees."""
    every_layer = st.tuples(*[host_ns] * n_layers)
    return Launches(
        prologue_ns=draw(host_ns),
        epilogue_ns=draw(host_ns),
        before_ns=draw(every_layer),
        after_ns=draw(every_layer),
        experts_ns=draw(every_layer),
        expert_ns=draw(every_layer),
        combine_ns=draw(every_layer),
        experts_start_ns=draw(every_layer),
        seen=draw(st.tuples(*[st.booleans()] * n_layers)),
    )


@st.composite
def runtime_plans(draw: st.DrawFn, sizes: tuple[tuple[int, ...], ...], *, exclusive: bool) -> RuntimePlan:
    tensors = draw(sometimes(tensors_of(sizes), otherwise=()))
    parts = draw(st.sampled_from([1, 1, 2, 3]))
    overhead = Overhead()
    if draw(st.booleans()):
        overhead = Overhead(
            pass_ns=draw(some_ns),
            miss_ns=draw(some_ns),
            load_bytes_per_s=draw(sometimes(rates, otherwise=0)),
            evict_bytes_per_s=draw(sometimes(rates, otherwise=0)),
            when=draw(st.sampled_from(["before", "beside"])),
        )
    return RuntimePlan(
        overlap=draw(st.sampled_from(["expert", "layer", "in_order"])),
        parts=parts,
        parts_order=draw(st.sampled_from(["expert", "matrix"])),
        tensors=tensors,
        evict=draw(st.sampled_from(["on_insert", "on_insert", "after_event"])),
        cancel=draw(st.sampled_from(["none", "queued", "chunk", "chunk"])),
        staging_buffers=draw(st.sampled_from([1, 2, 3])),
        host_staging_chunks=draw(st.sampled_from([8, 1, 2, 3])),
        exclusive=exclusive,
        overhead=overhead,
        host=draw(sometimes(host_plans(), otherwise=HostPlan())),
    )


@st.composite
def tier_pools(
    draw: st.DrawFn, expert_bytes: tuple[int, ...], n_experts: int
) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """Draw a pool for all layers, or one for each, with space for a few experts."""
    layers = tuple(range(len(expert_bytes)))
    groups = draw(st.sampled_from([(layers,), tuple((layer,) for layer in layers)]))
    pools = []
    for group in groups:
        largest = max(expert_bytes[layer] for layer in group)
        entries = draw(st.integers(0, max(1, n_experts * len(group) - 1)))
        pools.append((entries * largest, group))
    return tuple(pools)


@st.composite
def pass_specs(draw: st.DrawFn, n_layers: int, n_experts: int) -> PassSpec:
    demands = []
    for layer in range(n_layers):
        top_k = draw(st.sampled_from([2, 1, 3, 4, 0]))
        experts = draw(st.permutations(range(n_experts)))[:top_k]
        demands.append(tuple((layer * n_experts + e, draw(st.sampled_from([1, 1, 2]))) for e in experts))
    every_layer = st.tuples(*[some_ns] * n_layers)
    return PassSpec(
        prologue_ns=draw(some_ns),
        epilogue_ns=draw(some_ns),
        before_ns=draw(every_layer),
        after_ns=draw(every_layer),
        combine_ns=draw(every_layer),
        demands=tuple(demands),
        launches=draw(sometimes(all_launches(n_layers), otherwise=None)),
    )


@st.composite
def all_wishes(
    draw: st.DrawFn, passes: tuple[PassSpec, ...], n_layers: int, n_experts: int
) -> dict[int, tuple[tuple[int, int], ...]]:
    """Draw predictions: some come true, some do not, some are for after the end."""
    demands = [demand for spec in passes for demand in spec.demands]
    wishes: dict[int, tuple[tuple[int, int], ...]] = {}
    for event in range(len(demands)):
        some: dict[tuple[int, int], None] = {}
        for ahead in draw(st.lists(st.sampled_from([1, 1, 1, 2, n_layers]), max_size=3)):
            target = event + ahead
            layer = target % n_layers
            keys = [layer * n_experts + e for e in range(n_experts)]
            if target < len(demands) and demands[target] and draw(st.booleans()):
                keys = [key for key, _ in demands[target]]
            some[draw(st.sampled_from(keys)), ahead] = None
        wishes[event] = tuple(some)
    return wishes


@st.composite
def scripts(
    draw: st.DrawFn, passes: tuple[PassSpec, ...], n_experts: int, expert_bytes: tuple[int, ...]
) -> Script:
    """Draw what policies say of versions, routing, admission, residency, and how the cache shrinks."""
    n_layers = len(expert_bytes)
    demands = [[key for key, _ in demand] for spec in passes for demand in spec.demands]
    experts = st.sampled_from(range(n_layers * n_experts))

    def by_event(of: Callable[[int, list[int]], st.SearchStrategy[T]]) -> st.SearchStrategy[dict[int, T]]:
        return st.fixed_dictionaries({i: of(i % n_layers, keys) for i, keys in enumerate(demands) if keys})

    def some(_layer: int, keys: list[int]) -> st.SearchStrategy[frozenset[int]]:
        return st.frozensets(st.sampled_from(keys), max_size=2)

    def others(layer: int, keys: list[int]) -> st.SearchStrategy[dict[int, int]]:
        of_layer = range(layer * n_experts, (layer + 1) * n_experts)
        return st.dictionaries(st.sampled_from(keys), st.sampled_from([-1, *of_layer]), max_size=2)

    n_more = draw(st.sampled_from([0, 0, 0, 1, 2]))
    more = tuple(tuple(draw(st.integers(1, size)) for size in expert_bytes) for _ in range(n_more))
    versions = range(n_more + 1)

    def wanted(_layer: int, keys: list[int]) -> st.SearchStrategy[tuple[int, ...]]:
        return st.tuples(*[st.sampled_from([0, *versions, UNWANTED])] * len(keys))

    pairs = st.tuples(st.sampled_from(versions), st.sampled_from([*versions, UNWANTED]))
    every = st.sampled_from(range(n_layers * n_experts * (n_more + 1)))
    return Script(
        version_bytes=more,
        split=n_more == 1 and draw(st.booleans()),
        wanted=draw(by_event(wanted)) if n_more else {},
        accepted=draw(st.frozensets(pairs, max_size=4)) if n_more else frozenset(),
        rewritten=draw(sometimes(by_event(others), otherwise={})),
        skipped=draw(sometimes(by_event(some), otherwise={})),
        refused=draw(sometimes(st.frozensets(every, max_size=6), otherwise=frozenset())),
        backwards=draw(st.booleans()),
        ascending=draw(st.booleans()),
        shields=draw(st.sampled_from([True, True, False])),
        preloaded=tuple(draw(st.lists(experts, unique=True, max_size=4))),
        recorded=draw(sometimes(by_event(some), otherwise={})),
        caches=draw(
            sometimes(
                st.dictionaries(st.sampled_from(range(len(passes))), st.integers(0, 40), max_size=2),
                otherwise={},
            )
        ),
    )


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """Draw a run."""
    n_tiers = draw(st.sampled_from([2, 3]))
    n_layers = draw(st.integers(2, 4))
    n_experts = draw(st.integers(3, 6))
    sizes = st.sampled_from([1, 2, 5, 10])
    one_size = draw(sizes)
    unequal = draw(st.booleans())
    expert_bytes = tuple(draw(sizes) if unequal else one_size for _ in range(n_layers))
    passes = tuple(draw(st.lists(pass_specs(n_layers, n_experts), min_size=2, max_size=5)))
    wishes = draw(all_wishes(passes, n_layers, n_experts)) if draw(st.booleans()) else {}
    on_cpu: dict[int, dict[int, int]] = {}
    if draw(st.booleans()):
        for event in range(len(passes) * n_layers):
            keys = [key for key, _ in passes[event // n_layers].demands[event % n_layers]]
            if keys:
                defer = draw(st.sampled_from([0, 0, 1, 2]))
                on_cpu[event] = dict.fromkeys(draw(st.lists(st.sampled_from(keys), unique=True)), defer)
    script = Script()
    if draw(st.booleans()):
        script = draw(scripts(passes, n_experts, expert_bytes))
    n = script.n_versions
    worse = st.integers(0, n - 1)
    wishes = {
        event: tuple((key * n + (draw(worse) if n > 1 else 0), ahead) for key, ahead in some)
        for event, some in wishes.items()
    }
    eviction = [draw(st.sampled_from(EVICTIONS)) for _ in range(n_tiers - 1)]
    if script.recorded:
        eviction[0] = "scripted-record"
    return Scenario(
        machine=draw(machine_plans(n_tiers)),
        runtime=draw(
            runtime_plans(
                (expert_bytes, *script.version_bytes),
                exclusive=draw(sometimes(st.booleans(), otherwise=False)),
            )
        ),
        n_layers=n_layers,
        n_experts=n_experts,
        expert_bytes=expert_bytes,
        pools=tuple(draw(tier_pools(expert_bytes, n_experts)) for _ in range(n_tiers - 1)),
        eviction=tuple(eviction),
        passes=passes,
        expert_ns=tuple(draw(some_ns) for _ in range(n_layers)),
        expert_token_ns=draw(st.sampled_from([0, 1])),
        cpu_expert_ns=tuple(draw(st.sampled_from([5, 1, 2, 10])) for _ in range(n_layers)),
        cpu_token_ns=draw(st.sampled_from([0, 1])),
        activation_bytes=draw(st.sampled_from([1, 0, 2])),
        wishes=wishes,
        on_cpu=on_cpu,
        script=script,
    )
