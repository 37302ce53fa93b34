"""Runs for metamorphic laws: one system on one machine, played in this process, with what came of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from simulator.assemble.run import Inputs, Run
from simulator.engine.demand import Pass, Record
from simulator.experiment.schema import Experiment
from simulator.experiment.systems import with_system
from simulator.machine.hardware import HardwareProfile, load_hardware
from simulator.machine.software import IDEAL, load_software
from simulator.model.load import load_model
from simulator.trace.core import Trace
from simulator.trace.parquet import read_trace
from tests.places import ROOT


@dataclass(frozen=True)
class Case:
    """A system on a machine; ``dram`` is the share of all experts that DRAM holds (None: all)."""

    system: str
    machine: str
    batch: int
    dram: float | None = None

    def __str__(self) -> str:
        below = "" if self.dram is None else f"-dram{self.dram}"
        return f"{self.system}-{self.machine}-batch{self.batch}{below}"


@dataclass(frozen=True)
class Outcome:
    """What a run came to: its records by pass, the bytes of each link, and how many prefetches started."""

    records: tuple[Record, ...]
    end_ns: int
    link_bytes: dict[str, int]
    link_names: tuple[str, ...]
    started: int
    sizes: tuple[int, ...]
    n_versions: int

    def total(self, name: str) -> int:
        """Return the sum of a count over the passes."""
        return sum(getattr(record, name) for record in self.records)


@cache
def recorded() -> Trace:
    """Return the bundled trace; its weights were rounded, so a little noise parts those that became equal."""
    trace = read_trace(ROOT / "traces" / "olmoe-mini.parquet")
    rng = np.random.default_rng(0)

    def parted(weights: Any) -> Any:
        return weights.astype(np.float64) * (1 + 1e-4 * rng.random(weights.shape))

    return replace(
        trace,
        weights=parted(trace.weights),
        predicted_weights=tuple(parted(weights) for weights in trace.predicted_weights),
    )


@cache
def machine(name: str) -> HardwareProfile:
    """Return a bundled profile."""
    return load_hardware(name)


def play(
    case: Case,
    *,
    hardware: HardwareProfile | None = None,
    trace: Trace | None = None,
    training: Trace | None = None,
    software: str | None = IDEAL,
    **settings: Any,
) -> Outcome:
    """Play a case; ``hardware`` and ``trace`` replace its own, ``settings`` are the experiment's sections.

    ``training`` is what policies learn from beforehand, if anything. ``software`` None: the system's own.
    """
    memory: dict[str, Any] = {"gpu_expert_cache": {"fraction": 0.25}}
    if case.dram is not None:
        memory["cpu_expert_cache"] = {"fraction": case.dram}
    data: dict[str, Any] = {
        "name": "law",
        "model": "olmoe-1b-7b",
        "hardware": case.machine,
        "trace": "olmoe-mini",
        "system": case.system,
        "software": software,
        "workload": {"batch_size": case.batch, "max_sequences": case.batch, "max_decode_tokens": 12},
        "memory": memory | settings.pop("memory", {}),
        **settings,
    }
    experiment = Experiment.model_validate(with_system(data, "law"))
    profile = hardware or machine(case.machine)
    code = load_software(experiment.software or IDEAL)
    model = load_model("olmoe-1b-7b")
    run = Run(Inputs(experiment, model, profile, code, trace or recorded(), 0, training))
    records: list[Record] = []

    def keep(_pass: Pass, record: Record) -> None:
        records.append(record)

    simulation = run.simulation(keep)
    end = simulation.run(run.workload)
    loader = simulation.player.loader
    loader.speculation.close()
    return Outcome(
        records=tuple(records),
        end_ns=end,
        link_bytes={link.plan.name: link.moved_bytes for link in loader.fabric.links},
        link_names=tuple(link.plan.name for link in loader.fabric.links),
        started=loader.speculation.books.started,
        sizes=tuple(run.layer_bytes),
        n_versions=run.n_versions,
    )


# -- machines that differ in one thing ------------------------------------------------------------


def _with(sourced: Any, value: Any) -> Any:
    return None if sourced is None else sourced.model_copy(update={"value": value})


def with_link(profile: HardwareProfile, name: str, factor: int) -> HardwareProfile:
    """Return the machine with one link ``factor`` times as fast: its rates, and its latency."""
    link = profile.links[name]  # type: ignore[index]
    assert link.table is None
    faster = link.model_copy(
        update={
            "bandwidth": _with(link.bandwidth, link.bandwidth.value * factor),
            "lane_bandwidth": link.lane_bandwidth
            and _with(link.lane_bandwidth, link.lane_bandwidth.value * factor),
            "latency": _with(link.latency, link.latency.value // factor),
        }
    )
    return profile.model_copy(update={"links": {**profile.links, name: faster}})


def with_free_ssd(profile: HardwareProfile) -> HardwareProfile:
    """Return the machine with an SSD that takes a nanosecond a chunk, of the link above, and no DRAM."""
    up, far = profile.links["cpu_to_gpu"], profile.links["ssd_to_cpu"]
    assert up.chunk is not None
    free = far.model_copy(
        update={
            "bandwidth": _with(far.bandwidth, up.chunk.value * 10**9),
            "latency": _with(far.latency, 0),
            "chunk": up.chunk,
            "reads_dram": False,
        }
    )
    return profile.model_copy(update={"links": {**profile.links, "ssd_to_cpu": free}})


def with_clock(profile: HardwareProfile, factor: int) -> HardwareProfile:
    """Return the machine on which everything takes ``factor`` times as long."""

    def slower(unit: Any) -> Any:
        return unit and unit.model_copy(
            update={
                "flops": _with(unit.flops, unit.flops.value // factor),
                "memory_bandwidth": _with(unit.memory_bandwidth, unit.memory_bandwidth.value // factor),
                "launch": _with(unit.launch, unit.launch.value * factor),
                "dequantise_bandwidth": unit.dequantise_bandwidth
                and _with(unit.dequantise_bandwidth, unit.dequantise_bandwidth.value // factor),
            }
        )

    links = {
        name: link.model_copy(
            update={
                "bandwidth": _with(link.bandwidth, link.bandwidth.value // factor),
                "lane_bandwidth": link.lane_bandwidth
                and _with(link.lane_bandwidth, link.lane_bandwidth.value // factor),
                "latency": _with(link.latency, link.latency.value * factor),
            }
        )
        for name, link in profile.links.items()
    }
    compute = profile.compute.model_copy(
        update={unit: slower(getattr(profile.compute, unit)) for unit in ("gpu", "cpu")}
    )
    tiers = profile.tiers
    if tiers.cpu is not None:
        cpu = tiers.cpu.model_copy(
            update={"bandwidth": _with(tiers.cpu.bandwidth, tiers.cpu.bandwidth.value // factor)}
        )
        tiers = tiers.model_copy(update={"cpu": cpu})
    return profile.model_copy(update={"links": links, "compute": compute, "tiers": tiers})


# -- traces that differ in nothing that matters ---------------------------------------------------


def with_other_ids(trace: Trace, seed: int) -> Trace:
    """Return the trace with the experts of each layer renumbered, predictions likewise."""
    header = trace.header
    rng = np.random.default_rng(seed)
    ids = np.array([rng.permutation(header.n_experts) for _ in range(header.n_layers)])
    ids = np.concatenate([ids, np.full((header.n_layers, 1), -1)], axis=1).astype(np.int16)

    def renumbered(experts: Any, ahead: int) -> Any:
        layers = np.minimum(np.arange(header.n_layers) + ahead, header.n_layers - 1)[None, :, None]
        return ids[layers, experts]

    return replace(
        trace,
        experts=renumbered(trace.experts, 0),
        predicted=tuple(renumbered(p, d) for d, p in enumerate(trace.predicted, start=1)),
        gate_top=None if trace.gate_top is None else renumbered(trace.gate_top, 0),
    )
