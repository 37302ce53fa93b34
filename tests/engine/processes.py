"""Runs a scenario on the SimPy engine."""

from __future__ import annotations

from policies.base import Context, Eviction
from policies.registry import create
from simulator.engine.decide import PolicySet
from simulator.engine.demand import Record
from simulator.engine.processes.engine import Engine
from simulator.engine.processes.event import Step
from simulator.engine.processes.tiers import Pool, Tier

from .adapter import Costs, Scripted, ScriptedPlacement, passes, plain, without_zeros
from .scenario import PassResult, Result, Scenario


def run_processes(scenario: Scenario) -> Result:
    """Play the scenario."""
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
        tiers.append(Tier(s.machine.tiers[i], made, lambda key: s.expert_bytes[key // stride], stride, 1))
    policies = PolicySet(
        admission=create("admission", "always"),
        prefetch=create("prefetch", "none") if plain(s) else Scripted(s),
        precision=create("precision", "fixed"),
        placement=create("placement", "fetch") if plain(s) else ScriptedPlacement(s),
        routing=create("routing", "as-recorded"),
        order=create("order", "as-routed"),
    )
    n_events = len(s.passes) * s.n_layers
    hits, late, fetched, on_cpu, found = ([0] * n_events for _ in range(5))

    def watch(step: Step) -> None:
        i = step.event.index
        hits[i], late[i], fetched[i], on_cpu[i] = (
            len(step.hits), len(step.late), len(step.fetched), len(step.cpu),
        )  # fmt: skip
        found[i] = step.found_in_dram

    records: list[Record] = []
    engine = Engine(
        s.machine, s.runtime, tiers, policies, Costs(s), [], lambda _p, record: records.append(record),
        lambda capacity: tiers[0].resize(tiers[0].pools[0], capacity),
    )  # fmt: skip
    engine.main.decided = watch
    engine.run(passes(s))
    engine.speculation.close()
    names = [link.plan.name for link in engine.links]
    results = []
    for r in records:
        labels = {"dense": r.dense_ns, "expert_compute": r.expert_ns, "cpu_expert_wait": r.cpu_wait_ns}
        labels |= {"overhead": r.overhead_ns, "host": r.host_ns} | {
            f"stall_{n}": ns for n, ns in zip(names, r.stall_ns, strict=True)
        }
        busy = dict(zip(names, r.busy_ns, strict=True)) | {"cpu": r.busy_cpu_ns}
        results.append(PassResult(r.start_ns, r.end_ns, without_zeros(labels), without_zeros(busy)))
    b = engine.speculation.ends
    return Result(
        passes=tuple(results),
        hits=tuple(hits),
        late=tuple(late),
        fetched=tuple(fetched),
        on_cpu=tuple(on_cpu),
        found_in_dram=tuple(found),
        link_bytes={link.plan.name: link.moved_bytes for link in engine.links},
        started=b.started,
        useful=b.useful,
        unused=b.unused,
        cancelled=b.cancelled,
        dropped=b.dropped,
        peak_bytes=tuple(tier.peak for tier in tiers),
        resident=tuple(frozenset(key for pool in tier.pools for key in pool.landed) for tier in tiers),
        resident_steps=tuple(tier.resident_steps(n_events) for tier in tiers),
    )
