"""Layer steps per second of the engine, demand only, policy objects in place; beside bare SimPy timeouts.

Run with ``make bench``. Nothing here asserts a time; ratios to SimPy in the same run travel between machines.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Generator
from typing import Any

import numpy as np
import pytest
import simpy

from benchmarks.workload import SHAPES, Shape, routing
from policies.base import Context, Eviction
from policies.registry import create
from simulator.assemble.costs import Span
from simulator.assemble.workload import Batch, Workload
from simulator.engine import processes
from simulator.engine.decide import PolicySet
from simulator.engine.demand import Pass, PassCosts, Record
from simulator.engine.merged import MergedPlayer
from simulator.engine.plan import LinkPlan, MachinePlan, RuntimePlan
from simulator.engine.simulation import Simulation
from simulator.engine.tiers import Pool, Tier
from simulator.engine.wire import wire
from simulator.trace.core import DECODE, Trace, TraceHeader

EXPERT_BYTES = 100_000_000


class Costs:
    """Constant costs, so that the engine is measured and not the roofline."""

    activation_bytes = 0

    def __init__(self, shape: Shape) -> None:
        zeros = [0] * shape.n_layers
        self.dense = PassCosts(1000, 1000, [50_000] * shape.n_layers, zeros, zeros)

    def expert_ns(self, layer: int, version: int, tokens: int) -> int:
        """Return the time of an expert on the GPU."""
        return 100_000

    def cpu_expert_ns(self, layer: int, version: int, tokens: int) -> int:
        """Nothing runs on the CPU."""
        raise NotImplementedError

    def pass_costs(self, spans: list[Span], *, decode: bool = True) -> PassCosts:
        """Return the same costs for every pass."""
        return self.dense

    def launches(self, *, decode: bool) -> None:
        """Launches cost nothing."""


def trace(shape: Shape) -> Trace:
    """Return the workload as a trace of one decoded sequence."""
    header = TraceHeader(
        model=shape.name, n_layers=shape.n_layers, n_experts=shape.n_experts, top_k=shape.top_k,
        moe_layers=tuple(range(shape.n_layers)), n_model_layers=shape.n_layers, recorder="benchmark",
        synthetic=True,
    )  # fmt: skip
    n = shape.n_tokens
    return Trace(
        header,
        np.zeros(n, np.int32),
        np.arange(n, dtype=np.int32),
        np.full(n, DECODE, np.uint8),
        routing(shape),
    )


def simulation(shape: Shape, records: list[Record], *, merge: bool = False, by_simpy: bool = False) -> Any:
    """Return a run with a per-layer LRU of half the experts on one fixed-rate link."""
    machine = MachinePlan(("gpu", "cpu"), (LinkPlan("cpu_to_gpu", 1, 0, 25_000_000_000, latency_ns=10_000),))
    context = Context(shape.n_layers, shape.n_experts, shape.top_k, 1, 0)
    pools = []
    for layer in range(shape.n_layers):
        policy = create("eviction", "lru")
        assert isinstance(policy, Eviction)
        policy.bind(context)
        pools.append(
            ((processes.Pool if by_simpy else Pool)(shape.n_experts // 2 * EXPERT_BYTES, policy), [layer], ())
        )
    kind: Any = processes.Tier if by_simpy else Tier
    top = kind("gpu", pools, lambda _key: EXPERT_BYTES, shape.n_experts, 1)
    trivial = {"admission": "always", "prefetch": "none", "precision": "fixed", "placement": "fetch",
               "routing": "as-recorded", "order": "as-routed"}  # fmt: skip
    policies: dict[str, Any] = {axis: create(axis, name) for axis, name in trivial.items()}
    if by_simpy:
        return processes.Engine(
            machine, RuntimePlan(), [top], PolicySet(**policies), Costs(shape), [],
            lambda _p, record: records.append(record), lambda _capacity: None,
        )  # fmt: skip
    player = wire(machine, RuntimePlan(), [top], PolicySet(**policies), Costs(shape))
    merged = MergedPlayer(player, machine, [EXPERT_BYTES] * shape.n_layers) if merge else None
    return Simulation(player, merged, [], lambda _p, record: records.append(record))


def workload(shape: Shape) -> Workload:
    """Return the passes, made from the trace as they are played."""
    recorded = trace(shape)
    schedule = [Batch((row,), decode=True, starts=row == 0) for row in range(recorded.n_tokens)]
    return Workload(recorded, schedule, Costs(shape), with_mass=False)  # type: ignore[arg-type]


def timeouts_per_s(n: int = 300_000) -> float:
    """Return how many bare timeouts SimPy plays in a second."""

    def process(env: simpy.Environment) -> Generator[simpy.Event, Any, None]:
        for _ in range(n):
            yield env.timeout(1)

    env = simpy.Environment()
    env.process(process(env))
    start = time.perf_counter()
    env.run()
    return n / (time.perf_counter() - start)


@pytest.mark.parametrize("path", ["merged", "general", "simpy"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name.split()[0])
def test_layer_steps_per_second(shape: Shape, path: str, benchmark: Any) -> None:
    """Passes are made beforehand; what is timed is the engine."""
    merge, by_simpy = path == "merged", path == "simpy"
    passes: list[Pass] = list(workload(shape))

    def setup() -> tuple[tuple[Any], dict[str, Any]]:
        records.clear()
        return (simulation(shape, records, merge=merge, by_simpy=by_simpy),), {}

    records: list[Record] = []
    benchmark.pedantic(lambda s: s.run(passes), setup=setup, rounds=5 if merge else 2)
    steps = shape.n_tokens * shape.n_layers
    rate = steps / benchmark.stats["min"]
    bare = timeouts_per_s()
    hit_rate = sum(r.hits for r in records) / sum(r.lookups for r in records)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"\n{shape.name}, {path}: {rate / 1e3:.0f} k layer steps/s = {rate / bare:.3f} of "
        f"{bare / 1e6:.2f} M bare SimPy timeouts/s; hit rate {hit_rate:.3f}; peak memory {peak:.0f} MiB"
    )
    assert (
        abs(hit_rate - shape.hit_rate) < 0.006
    )  # of the figures in benchmarks/workload.py, which another seed gave


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name.split()[0])
def test_with_the_passes_made_from_the_trace(shape: Shape, benchmark: Any) -> None:
    """Passes are made while they are played, as a run does it."""
    recorded = workload(shape)
    records: list[Record] = []
    benchmark.pedantic(
        lambda s: s.run(recorded), setup=lambda: ((simulation(shape, records, merge=True),), {}), rounds=3
    )
    rate = shape.n_tokens * shape.n_layers / benchmark.stats["min"]
    print(f"\n{shape.name}, merged, from the trace: {rate / 1e3:.0f} k layer steps/s")
