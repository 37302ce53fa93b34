"""The simulator's half of the reference validation: the same tokens on the calibrated profile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from simulator.assemble.run import Inputs, Run
from simulator.engine.demand import Pass, Record
from simulator.experiment.schema import CacheSize, Experiment, Memory, OverheadConfig, Policies, Runtime
from simulator.machine.hardware import HardwareProfile, LinkName, Sourced
from simulator.machine.software import IDEAL, load_software
from simulator.trace.core import DECODE, Trace
from simulator.trace.sizes import trace_model
from simulator.validate.accuracy import Floats
from simulator.validate.reference.machine import Shape
from simulator.validate.reference.run import Settings, TokenLog

LINK: dict[str, LinkName] = {"cpu": "ssd_to_cpu", "gpu": "cpu_to_gpu"}
"""The link that experts take, by the unit that computes them."""
TURNS = 10


def decoded(trace: Trace, shape: Shape, n_tokens: int) -> Trace:
    """Return the first decoded tokens of a trace, with the sizes of the stand-in model."""
    rows = np.flatnonzero((trace.phase == DECODE) & (trace.experts >= 0).all(axis=(1, 2)))[:n_tokens]
    n = trace.header.n_layers
    header = trace.header.model_copy(
        update={
            "expert_bytes": (shape.expert_bytes,) * n,
            "dense_bytes": (shape.dense_bytes,) * n,
            "precision": shape.precision,
        }
    )
    return Trace(
        header=header,
        sequence=trace.sequence[rows],
        position=trace.position[rows],
        phase=trace.phase[rows],
        experts=trace.experts[rows],
        predicted=tuple(p[rows] for p in trace.predicted[:1]),
        predicted_weights=tuple(p[rows] for p in trace.predicted_weights[:1]),
    )


@dataclass(frozen=True, slots=True)
class Overhead:
    """What the engine's own thread costs, in ns: a token (all its layer steps), and a miss."""

    per_pass: int
    per_miss: int


def fit_overhead(dry: Sequence[TokenLog]) -> Overhead:
    """Fit the cost of bookkeeping by least squares over tokens of runs that move nothing.

    The tenth that lies highest above the line is left out: a token that was interrupted says nothing of the
    engine. Which those are and the line are found in turn (least trimmed squares: Rousseeuw and Van Driessen,
    Computing LTS regression for large data sets, 2006).
    """
    misses = np.array([log.lookups - log.hits - log.late for log in dry], dtype=float)
    spent = np.array([log.overhead_ns for log in dry], dtype=float)
    keep = np.ones(len(dry), dtype=bool)
    for _ in range(TURNS):
        per_pass, per_miss = _line(misses[keep], spent[keep])
        above = spent - per_pass - per_miss * misses
        keep = above <= np.quantile(above, 0.9)
    if per_miss < 0 or per_pass < 0:
        per_pass, per_miss = np.median(spent), 0.0
    return Overhead(round(per_pass), round(per_miss))


def _line(x: Floats, y: Floats) -> Floats:
    """Return offset and slope of the line through points that is best by least squares."""
    found = np.linalg.lstsq(np.stack([np.ones_like(x), x], axis=1), y, rcond=None)[0]
    return np.asarray(found, dtype=np.float64)


def simulate(
    trace: Trace, shape: Shape, settings: Settings, hardware: HardwareProfile, overhead: Overhead
) -> list[Record]:
    """Return the simulator's record of every token."""
    cache = CacheSize.model_construct(bytes=settings.slots * shape.expert_bytes)
    experiment = Experiment(
        name="reference",
        model="trace",
        hardware=hardware.name,
        trace="reference",
        policies=Policies(prefetch="gate-lookahead" if settings.prefetch else "none"),
        runtime=Runtime(
            preemption="none",
            overhead=OverheadConfig.model_construct(
                **OverheadConfig().model_dump()
                | {"per_pass": overhead.per_pass, "per_miss": overhead.per_miss}
            ),
        ),
        memory=Memory(gpu_expert_cache=cache) if hardware.main == "gpu" else Memory(cpu_expert_cache=cache),
    )
    run = Run(
        Inputs(
            experiment,
            trace_model(trace.header),
            with_lanes(hardware, settings.lanes),
            load_software(IDEAL),
            trace,
            seed=0,
        )
    )
    records: list[Record] = []

    def keep(_: Pass, record: Record) -> None:
        records.append(replace(record))

    run.simulation(keep).run(run.workload)
    return records


def with_lanes(hardware: HardwareProfile, n: int) -> HardwareProfile:
    """Return a profile whose link to the main unit is used by so many threads, as in the run."""
    name = LINK[hardware.main]
    lanes = Sourced[int](value=n, source="as many as the run had", measured=True)
    link = hardware.links[name].model_copy(update={"lanes": lanes})
    return hardware.model_copy(update={"links": {**hardware.links, name: link}})
