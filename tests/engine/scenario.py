"""What one run is given and what it answers, as plain data shared by both engines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from simulator.engine.demand import Launches
from simulator.engine.plan import MachinePlan, RuntimePlan


@dataclass(frozen=True)
class PassSpec:
    """One pass: its dense work by MoE layer, and who is demanded in each of them."""

    prologue_ns: int
    epilogue_ns: int
    before_ns: tuple[int, ...]
    after_ns: tuple[int, ...]
    combine_ns: tuple[int, ...]
    demands: tuple[tuple[tuple[int, int], ...], ...]
    """Per layer: (key, tokens) in order of last occurrence; key = layer * n_experts + expert."""
    launches: Launches | None = None


@dataclass(frozen=True)
class Scenario:
    """One run."""

    machine: MachinePlan
    runtime: RuntimePlan
    n_layers: int
    n_experts: int
    expert_bytes: tuple[int, ...]
    """Per layer."""
    pools: tuple[tuple[tuple[int, tuple[int, ...]], ...], ...]
    """Per caching tier (all but the last): (capacity, layers) of each pool."""
    eviction: tuple[str, ...]
    """Per caching tier: ``lru`` or ``fifo``."""
    passes: tuple[PassSpec, ...]
    expert_ns: tuple[int, ...]
    expert_token_ns: int = 0
    """An expert takes ``expert_ns[layer] + expert_token_ns * tokens``."""
    cpu_expert_ns: tuple[int, ...] = ()
    cpu_token_ns: int = 0
    """Likewise on the CPU helper, where it reads ``expert_bytes[layer]``."""
    activation_bytes: int = 0
    """Per token, each way."""
    wishes: Mapping[int, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    """Event index (= pass * n_layers + layer) -> (key, layers ahead >= 1), most wanted first."""
    on_cpu: Mapping[int, Mapping[int, int]] = field(default_factory=dict)
    """Event index -> {key: defer_layers}, for missed keys that are in DRAM then."""


@dataclass(frozen=True)
class PassResult:
    """When a pass ran, what its nanoseconds were spent on, and what was occupied in how many of them.

    Neither mapping has zero entries; ``busy`` is by link, and ``cpu`` is the helper.
    """

    start_ns: int
    end_ns: int
    labels: Mapping[str, int]
    busy: Mapping[str, int]


@dataclass(frozen=True)
class Result:
    """What a run answers; two engines must agree on all of it."""

    passes: tuple[PassResult, ...]
    hits: tuple[int, ...]
    late: tuple[int, ...]
    fetched: tuple[int, ...]
    on_cpu: tuple[int, ...]
    found_in_dram: tuple[int, ...]
    """Per event, of the misses."""
    link_bytes: Mapping[str, int]
    started: int
    useful: int
    unused: int
    cancelled: int
    dropped: int
    peak_bytes: tuple[int, ...]
    """Per caching tier: peak of landed and in-flight bytes, staging not included."""
    resident: tuple[frozenset[int], ...]
    """Per caching tier: landed keys at the end of the run."""
    resident_steps: tuple[Mapping[int, int], ...]
    """Per caching tier: layer steps in which each key was there or on its way, without zeros."""
