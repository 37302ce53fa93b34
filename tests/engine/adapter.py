"""Runs a scenario on the engines of the project."""

from __future__ import annotations

from policies.base import Event
from simulator.engine import processes
from simulator.engine.decide import Decision
from simulator.engine.demand import Record
from simulator.engine.merged import MergedPlayer
from simulator.engine.observe import Observer, observe
from simulator.engine.processes.clock import LANES, Process
from simulator.engine.processes.event import Step
from simulator.engine.simulation import Simulation
from simulator.engine.tiers import Pool, Tier
from simulator.engine.wire import wire

from .scenario import Result, Scenario
from .scripted import Costs, passes, plain_policies, policies, result, tiers

BY_EVENT = ("hits", "late", "fetched", "on_cpu", "found_in_dram")


def run_engine(scenario: Scenario, *, merge: bool = False, observer: Observer | None = None) -> Result:
    """Play the scenario on the player; ``merge``: on the merged path, which keeps counts by pass only."""
    s = scenario
    of = tiers(s, Pool, Tier)
    player = wire(
        s.machine, s.runtime, of, plain_policies() if merge else policies(s), Costs(s), s.script.n_versions
    )  # fmt: skip
    n_events = len(s.passes) * s.n_layers
    by_event = {name: [0] * n_events for name in BY_EVENT}

    def watch(event: Event, decision: Decision) -> None:
        found = (decision.hits, decision.late, decision.fetch, decision.cpu)
        counts = (*map(len, found), decision.found_in_dram)
        for name, n in zip(BY_EVENT, counts, strict=True):
            by_event[name][event.index] = n

    merged = None
    if merge:
        assert MergedPlayer.applies(player, s.machine, s.runtime, 1)
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
        lambda capacity: of[0].resize(of[0].pools[0], capacity),
    )
    simulation.run(passes(s))
    answer = simulation.close()
    if merge:
        by_event["hits"] = [r.hits for r in records]
        by_event["fetched"] = [r.fetched for r in records]
    return result(records, answer, by_event, _resident(of), [tier.resident_steps(n_events) for tier in of])


def run_simpy(scenario: Scenario, *, every_ns: bool = False) -> Result:
    """Play the scenario on the SimPy engine; ``every_ns``: all look in every nanosecond for work."""
    s = scenario
    of = tiers(s, processes.Pool, processes.Tier)
    n_events = len(s.passes) * s.n_layers
    by_event = {name: [0] * n_events for name in BY_EVENT}

    def watch(step: Step) -> None:
        counts = (*map(len, (step.hits, step.late, step.fetched, step.cpu)), step.found_in_dram)
        for name, n in zip(BY_EVENT, counts, strict=True):
            by_event[name][step.event.index] = n

    records: list[Record] = []
    engine = processes.Engine(
        s.machine,
        s.runtime,
        of,
        policies(s),
        Costs(s),
        [],
        lambda _p, record: records.append(record),
        lambda capacity: of[0].resize(of[0].pools[0], capacity),
    )
    engine.main.decided = watch
    if every_ns:
        engine.clock.begin(_look_always(engine))
    engine.run(passes(s))
    answer = engine.close()
    return result(records, answer, by_event, _resident(of), [tier.resident_steps(n_events) for tier in of])


def _look_always(engine: processes.Engine) -> Process:
    """Have links pick, rates be shared and the main unit look, in every nanosecond."""
    while True:
        engine.carrier.look()
        engine.rates.anew.ask()
        engine.main.tell()
        yield engine.clock.pause(1, LANES)


def _resident(of: list) -> list[frozenset[int]]:
    return [frozenset(key for pool in tier.pools for key in pool.landed) for tier in of]
