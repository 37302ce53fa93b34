"""What one run is given and what it answers, as plain data shared by all engines."""

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
class Script:
    """What the policies of a run say beside wishes and the CPU; keys are of experts unless it is said."""

    version_bytes: tuple[tuple[int, ...], ...] = ()
    """Per version beside the main one, per layer."""
    split: bool = False
    """Whether each pool of tier 0 is divided among the versions."""
    wanted: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """Event index -> the version of each key, in the order of the demand; main where nothing is said."""
    accepted: frozenset[tuple[int, int]] = frozenset()
    """(version, wanted) beside the same ones."""
    rewritten: Mapping[int, Mapping[int, int]] = field(default_factory=dict)
    """Event index -> {key: the key that serves it instead, or -1}, where it is no hit; {}: no rewriting."""
    skipped: Mapping[int, frozenset[int]] = field(default_factory=dict)
    """Event index -> missed keys that are skipped."""
    refused: frozenset[int] = frozenset()
    """Version keys that may displace nobody."""
    backwards: bool = False
    """Whether the last miss asks for space first."""
    ascending: bool = False
    """Whether transfers are queued in the order of keys."""
    shields: bool = True
    preloaded: tuple[int, ...] = ()
    """Who is wanted in the pools of the policy ``preloading`` before the run."""
    recorded: Mapping[int, frozenset[int]] = field(default_factory=dict)
    """Event index -> who is resident, for the policy ``scripted-record``."""
    caches: Mapping[int, int] = field(default_factory=dict)
    """Pass -> bytes of tier 0's first pool from then on."""

    @property
    def n_versions(self) -> int:
        return 1 + len(self.version_bytes)


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
    """Per caching tier: a name of the registry, ``preloading`` or ``scripted-record``."""
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
    """Event index (= pass * n_layers + layer) -> (version key, layers ahead >= 1), most wanted first."""
    on_cpu: Mapping[int, Mapping[int, int]] = field(default_factory=dict)
    """Event index -> {key: defer_layers}, for missed keys that are in DRAM then."""
    script: Script = field(default_factory=Script)

    def size_of(self, key: int) -> int:
        """Return the bytes of a version key."""
        layer, version = divmod(key, self.script.n_versions * self.n_experts)
        return (self.expert_bytes, *self.script.version_bytes)[version % self.script.n_versions][layer]


@dataclass(frozen=True)
class PassResult:
    """When a pass ran, what its nanoseconds were spent on, what was occupied when, and what was counted.

    No mapping has zero entries; ``busy`` is by link, and ``cpu`` is the helper.
    """

    start_ns: int
    end_ns: int
    labels: Mapping[str, int]
    busy: Mapping[str, int]
    counts: Mapping[str, float]


@dataclass(frozen=True)
class Result:
    """What a run answers; engines must agree on all of it."""

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
    wasted_bytes: int
    peak_bytes: tuple[int, ...]
    """Per caching tier: peak of landed and in-flight bytes, staging not included."""
    resident: tuple[frozenset[int], ...]
    """Per caching tier: landed keys at the end of the run."""
    resident_steps: tuple[Mapping[int, int], ...]
    """Per caching tier: layer steps in which each key was there or on its way, without zeros."""
