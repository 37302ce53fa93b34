"""Runs a scenario on the engine of the project and answers in the reference's words."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace

from policies.base import Context, Event, Eviction, Place, Placed, Placement, Prefetch, Wish
from policies.registry import create
from simulator.engine.decide import Decision, PolicySet
from simulator.engine.demand import Pass, PassCosts, Record
from simulator.engine.merged import MergedPlayer
from simulator.engine.observe import Observer, observe
from simulator.engine.simulation import Simulation
from simulator.engine.tiers import Pool, Tier
from simulator.engine.wire import wire

from .scenario import PassResult, Result, Scenario


class Scripted(Prefetch):
    """Wishes what the scenario says."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario

    def wishes(self, event: Event, resident: Container[int]) -> Sequence[Wish]:
        del resident
        return [Wish(key, ahead) for key, ahead in self.scenario.wishes.get(event.index, ())]


class ScriptedPlacement(Placement):
    """Places on the CPU what the scenario says, where it can."""

    uses_cpu = True

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario

    def place(self, event: Event, missed: Sequence[int], in_dram: Sequence[bool]) -> Sequence[Placed]:
        chosen = self.scenario.on_cpu.get(event.index, {})
        return [
            Placed(Place.CPU, chosen[key]) if key in chosen and there else Placed()
            for key, there in zip(missed, in_dram, strict=True)
        ]


class Costs:
    """The scenario's costs, as the player asks for them."""

    def __init__(self, scenario: Scenario) -> None:
        self.s = scenario
        self.activation_bytes = scenario.activation_bytes

    def expert_ns(self, layer: int, version: int, tokens: int) -> int:
        del version
        return self.s.expert_ns[layer] + self.s.expert_token_ns * tokens

    def cpu_expert_ns(self, layer: int, version: int, tokens: int) -> int:
        del version
        return self.s.cpu_expert_ns[layer] + self.s.cpu_token_ns * tokens


def passes(scenario: Scenario) -> list[Pass]:
    """Return the scenario's passes as the engine takes them."""
    made = []
    for index, spec in enumerate(scenario.passes):
        dense = (spec.prologue_ns, spec.epilogue_ns, spec.before_ns, spec.after_ns, spec.combine_ns)
        costs = PassCosts(*dense, spec.launches)
        keys = [[key for key, _ in demand] for demand in spec.demands]
        tokens = [[n for _, n in demand] for demand in spec.demands]
        ones = all(n == 1 for row in tokens for n in row)
        made.append(Pass(index, True, costs, keys, None if ones else tokens))
    return made


def plain(scenario: Scenario) -> bool:
    """Return whether the scenario uses no prefetch and no CPU."""
    return not scenario.wishes and not scenario.on_cpu


def run_engine(
    scenario: Scenario,
    *,
    merge: bool = False,
    checks: list[str] | None = None,
    caches: Mapping[int, int] | None = None,
    observer: Observer | None = None,
) -> Result:
    """Play the scenario; ``merge`` allows the merged path; ``checks`` collects broken invariants.

    ``caches`` changes the capacity of tier 0's first pool before a pass.
    """
    s = scenario
    stride = s.n_experts
    context = Context(s.n_layers, s.n_experts, 1, 1, 0)
    tiers = []
    for i, pools in enumerate(s.pools):
        made = []
        for capacity, layers in pools:
            policy = create("eviction", s.eviction[i])
            assert isinstance(policy, Eviction)
            policy.bind(context)
            made.append((Pool(capacity, policy), layers, ()))
        tiers.append(Tier(s.machine.tiers[i], made, lambda key: s.expert_bytes[key // stride], stride))
    top = tiers[0]
    policies = PolicySet(
        admission=create("admission", "always"),
        prefetch=create("prefetch", "none") if plain(s) else Scripted(s),
        precision=create("precision", "fixed"),
        placement=create("placement", "fetch") if plain(s) else ScriptedPlacement(s),
        routing=create("routing", "as-recorded"),
        order=create("order", "as-routed"),
    )
    player = wire(s.machine, s.runtime, tiers, policies, Costs(s))
    n_events = len(s.passes) * s.n_layers
    hits, late, fetched, on_cpu, found = ([0] * n_events for _ in range(5))

    def watch(event: Event, decision: Decision) -> None:
        i = event.index
        hits[i], late[i], fetched[i], on_cpu[i] = (
            len(decision.hits), len(decision.late), len(decision.fetch), len(decision.cpu),
        )  # fmt: skip
        found[i] = decision.found_in_dram
        for tier in tiers:
            for pool in tier.pools:
                if checks is not None and s.runtime.evict == "on_insert" and pool.used > pool.capacity:
                    checks.append(f"{tier.name} over capacity at event {i}")

    merged = None
    if merge:
        if MergedPlayer.applies(player, s.machine, s.runtime, 1):
            merged = MergedPlayer(player, s.machine, list(s.expert_bytes))
    else:
        player.watch = watch
    records: list[Record] = []
    if observer is not None:
        observe(player, observer)
    simulation = Simulation(
        player,
        merged,
        [],
        lambda _p, record: records.append(record),
        lambda capacity: top.resize(top.pools[0], capacity),
    )
    simulation.run(replace(p, cache_bytes=(caches or {}).get(p.index)) for p in passes(s))
    player.loader.speculation.close()
    names = [link.plan.name for link in player.fabric.links]
    results = []
    for r in records:
        labels = {"dense": r.dense_ns, "expert_compute": r.expert_ns, "cpu_expert_wait": r.cpu_wait_ns}
        labels |= {"overhead": r.overhead_ns, "host": r.host_ns} | {
            f"stall_{n}": ns for n, ns in zip(names, r.stall_ns, strict=True)
        }
        busy = dict(zip(names, r.busy_ns, strict=True)) | {"cpu": r.busy_cpu_ns}
        results.append(PassResult(r.start_ns, r.end_ns, without_zeros(labels), without_zeros(busy)))
    if merge:  # the merged path keeps counts by pass only
        hits = [r.hits for r in records]
        fetched = [r.fetched for r in records]
    b = player.loader.speculation.books
    return Result(
        passes=tuple(results),
        hits=tuple(hits),
        late=tuple(late),
        fetched=tuple(fetched),
        on_cpu=tuple(on_cpu),
        found_in_dram=tuple(found),
        link_bytes={link.plan.name: link.moved_bytes for link in player.fabric.links},
        started=b.started,
        useful=b.useful,
        unused=b.unused,
        cancelled=b.cancelled,
        dropped=b.dropped,
        peak_bytes=tuple(tier.peak for tier in tiers),
        resident=tuple(frozenset(key for pool in tier.pools for key in pool.landed) for tier in tiers),
        resident_steps=tuple(tier.resident_steps(n_events) for tier in tiers),
    )


def without_zeros(of: dict[str, int]) -> dict[str, int]:
    return {name: n for name, n in of.items() if n}
