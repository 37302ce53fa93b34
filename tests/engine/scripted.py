"""Policies and costs that do what a scenario says, and an engine's answers in its words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import fields

from policies.base import (
    Admission,
    Context,
    Event,
    Eviction,
    Order,
    Place,
    Placed,
    Placement,
    Precision,
    Prefetch,
    Routing,
    Wish,
)
from policies.registry import create
from simulator.engine.answer import Answer
from simulator.engine.decide import PolicySet
from simulator.engine.demand import Pass, PassCosts, Record

from .scenario import PassResult, Result, Scenario

COUNTS = (
    *("lookups", "hits", "late", "fetched", "on_cpu", "deferred", "substituted", "skipped"),
    *("found_in_dram", "not_in_top", "demand_bytes"),
    *("mass_high", "mass_low", "mass_substituted", "mass_deferred", "mass_skipped"),
)


class Preloading(Eviction):
    """Starts with some experts, and looks at every step: who served least goes first."""

    def __init__(self, wanted: Sequence[int]) -> None:
        self.wanted = wanted
        self.served: Counter[int] = Counter()
        self.here: set[int] = set()

    def preload(self, layers: Sequence[int]) -> Sequence[int]:
        return [key for key in self.wanted if key // self.context.n_experts in layers]

    def observe(self, event: Event, served: Sequence[int]) -> None:
        self.served.update({key: len(served) for key in served})

    def on_use(self, keys: Sequence[int], event: int) -> None:
        self.here.update(keys)

    def on_insert(self, key: int) -> None:
        self.here.add(key)

    def on_evict(self, key: int) -> None:
        self.here.discard(key)

    def victim(self, blocked: Container[int]) -> int | None:
        free = [key for key in self.here if key not in blocked]
        return min(free, key=lambda key: (self.served[key], key), default=None)


class ScriptedRecord(Eviction):
    """Replays the residency that the scenario says."""

    refuses = True

    def __init__(self, resident: Mapping[int, frozenset[int]]) -> None:
        self.resident = resident

    def residency(self, event: Event) -> Sequence[bool]:
        return [key in self.resident.get(event.index, ()) for key in event.keys]

    def on_use(self, keys: Sequence[int], event: int) -> None:
        pass

    def on_insert(self, key: int) -> None:
        pass

    def on_evict(self, key: int) -> None:
        pass

    def victim(self, blocked: Container[int]) -> int | None:
        return None


class Wishes(Prefetch):
    """Wishes what the scenario says."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.shields = scenario.script.shields  # type: ignore[misc]  # the class of each scenario

    def wishes(self, event: Event, resident: Container[int]) -> Sequence[Wish]:
        del resident
        return [Wish(key, ahead) for key, ahead in self.scenario.wishes.get(event.index, ())]


class Places(Placement):
    """Places on the CPU, and skips, what the scenario says, where it can."""

    uses_cpu = True

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario

    def place(self, event: Event, missed: Sequence[int], in_dram: Sequence[bool]) -> Sequence[Placed]:
        script = self.scenario.script
        on_cpu = self.scenario.on_cpu.get(event.index, {})
        skipped = script.skipped.get(event.index, ())
        placed = []
        for key, there in zip(missed, in_dram, strict=True):
            expert = key // script.n_versions
            if expert in skipped:
                placed.append(Placed(Place.SKIP))
            elif expert in on_cpu and there:
                placed.append(Placed(Place.CPU, on_cpu[expert]))
            else:
                placed.append(Placed())
        return placed


class Versions(Precision):
    """Wants and accepts the versions that the scenario says."""

    def __init__(self, scenario: Scenario) -> None:
        self.script = scenario.script

    def wanted(self, event: Event) -> Sequence[int]:
        return self.script.wanted.get(event.index, (0,) * len(event.keys))

    def accepts(self, version: int, wanted: int) -> bool:
        return version == wanted or (version, wanted) in self.script.accepted


class Rewrites(Routing):
    """Replaces and drops what the scenario says, where it is no hit."""

    def __init__(self, scenario: Scenario) -> None:
        self.rewritten = scenario.script.rewritten
        self.rewrites = bool(self.rewritten)  # type: ignore[misc]  # the class of each scenario

    def rewrite(self, event: Event, hit: Sequence[bool]) -> Sequence[int]:
        changes = self.rewritten.get(event.index, {})
        return [key if there else changes.get(key, key) for key, there in zip(event.keys, hit, strict=True)]


class Refuses(Admission):
    """Refuses whom the scenario says."""

    def __init__(self, scenario: Scenario) -> None:
        self.script = scenario.script

    def order(self, keys: Sequence[int], event: int) -> Sequence[int]:
        return keys[::-1] if self.script.backwards else keys

    def admits(self, key: int, victim: int, event: int) -> bool:
        return key not in self.script.refused


class Costs:
    """The scenario's costs, as engines ask for them; a worse version is faster."""

    def __init__(self, scenario: Scenario) -> None:
        self.s = scenario
        self.activation_bytes = scenario.activation_bytes

    def expert_ns(self, layer: int, version: int, tokens: int) -> int:
        return self.s.expert_ns[layer] // (version + 1) + self.s.expert_token_ns * tokens

    def cpu_expert_ns(self, layer: int, version: int, tokens: int) -> int:
        return max(1, self.s.cpu_expert_ns[layer] // (version + 1)) + self.s.cpu_token_ns * tokens


def policies(s: Scenario) -> PolicySet:
    """Return one policy for each axis."""
    order = create("order", "ascending" if s.script.ascending else "as-routed")
    assert isinstance(order, Order)
    return PolicySet(Refuses(s), Wishes(s), Versions(s), Places(s), Rewrites(s), order)


def plain_policies() -> PolicySet:
    """Return the policies of a run on demand, which the merged path asks for."""
    chosen = {
        "admission": "always",
        "prefetch": "none",
        "precision": "fixed",
        "placement": "fetch",
        "routing": "as-recorded",
        "order": "as-routed",
    }
    return PolicySet(**{axis: create(axis, name) for axis, name in chosen.items()})  # type: ignore[arg-type]


Made = tuple[int, Eviction, Sequence[int], tuple[int, ...]]


def pools(s: Scenario) -> list[list[Made]]:
    """Return (capacity, policy, layers, versions) of each pool of each tier; the policies are bound."""
    seed = 0
    found = []
    for tier, of_tier in enumerate(s.pools):
        made = []
        for capacity, layers in of_tier:
            parts: list[tuple[int, tuple[int, ...]]] = [(capacity, ())]
            if tier == 0 and s.script.split:
                parts = [(capacity - capacity // 2, (0,)), (capacity // 2, (1,))]
            for part, versions in parts:
                policy = _eviction(s, s.eviction[tier])
                policy.bind(Context(s.n_layers, s.n_experts, 1, s.script.n_versions, seed))
                seed += 1
                made.append((part, policy, layers, versions))
        found.append(made)
    return found


def _eviction(s: Scenario, name: str) -> Eviction:
    if name == "preloading":
        return Preloading(s.script.preloaded)
    if name == "scripted-record":
        return ScriptedRecord(s.script.recorded)
    policy = create("eviction", name)
    assert isinstance(policy, Eviction)
    return policy


def passes(scenario: Scenario) -> list[Pass]:
    """Return the scenario's passes as engines take them."""
    made = []
    for index, spec in enumerate(scenario.passes):
        dense = (spec.prologue_ns, spec.epilogue_ns, spec.before_ns, spec.after_ns, spec.combine_ns)
        costs = PassCosts(*dense, spec.launches)
        keys = [[key for key, _ in demand] for demand in spec.demands]
        tokens = [[n for _, n in demand] for demand in spec.demands]
        ones = all(n == 1 for row in tokens for n in row)
        cache = scenario.script.caches.get(index)
        made.append(Pass(index, True, costs, keys, None if ones else tokens, cache_bytes=cache))
    return made


def result(
    records: Sequence[Record],
    answer: Answer,
    by_event: Mapping[str, Sequence[int]],
    resident: Sequence[frozenset[int]],
    resident_steps: Sequence[Mapping[int, int]],
) -> Result:
    """Put what an engine answered in the words of a scenario; ``by_event`` has counts of each event."""
    names = list(answer.link_bytes)
    found = []
    for r in records:
        labels = {"dense": r.dense_ns, "expert_compute": r.expert_ns, "cpu_expert_wait": r.cpu_wait_ns}
        labels |= {"overhead": r.overhead_ns, "host": r.host_ns} | {
            f"stall_{n}": ns for n, ns in zip(names, r.stall_ns, strict=True)
        }
        busy = dict(zip(names, r.busy_ns, strict=True)) | {"cpu": r.busy_cpu_ns}
        counts = {name: getattr(r, name) for name in COUNTS}
        found.append(PassResult(r.start_ns, r.end_ns, *map(_without_zeros, (labels, busy, counts))))
    told = {field.name for field in fields(Answer)} - {"peak_bytes"}
    return Result(
        passes=tuple(found),
        peak_bytes=tuple(answer.peak_bytes.values()),
        resident=tuple(resident),
        resident_steps=tuple(resident_steps),
        **{name: getattr(answer, name) for name in told},
        **{name: tuple(counts) for name, counts in by_event.items()},
    )


def _without_zeros(of: Mapping[str, float]) -> Mapping[str, float]:
    return {name: n for name, n in of.items() if n}


def tiers(s: Scenario, pool_of: Callable[..., object], tier_of: Callable[..., object]) -> list[object]:
    """Return the caching tiers, of an engine's kinds, with what is there before the run."""
    stride, n = s.n_experts * s.script.n_versions, s.script.n_versions
    made = []
    for name, of_tier in zip(s.machine.tiers, pools(s), strict=False):
        told = [(pool_of(part, policy), layers, versions) for part, policy, layers, versions in of_tier]
        tier = tier_of(name, told, s.size_of, stride, n)
        tier.preload([layers for _, layers, _ in told], [min(v, default=0) for _, _, v in told])
        made.append(tier)
    return made
