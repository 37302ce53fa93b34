"""The phone, simulated: the shipped experiment and profile with other parameters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from simulator.assemble.run import Inputs, Run
from simulator.config.yaml_file import find_named, read_yaml
from simulator.engine.demand import Pass, Record
from simulator.experiment.schema import Experiment
from simulator.experiment.sweep import expand
from simulator.machine.hardware import HardwareProfile, LinkName, load_hardware
from simulator.machine.software import IDEAL, load_software
from simulator.trace.sizes import trace_model
from simulator.validate.accuracy import Floats
from simulator.validate.phone.recorded import PhoneRun

EXPERIMENT = "phone-bigmoe"
LINK: LinkName = "ssd_to_cpu"
LANES = 4  # reading threads of that engine


@dataclass(frozen=True, slots=True)
class Parameters:
    """What is fitted: rates in bytes/s, ``per_pass`` in ns. ``total`` is that of all lanes together."""

    compute: float
    lane: float
    total: float
    copy: float
    per_pass: float
    evict: float


@dataclass(frozen=True, slots=True)
class Predicted:
    """What a simulated run says of each decoded token: ms, and bytes read from flash."""

    stall_ms: Floats
    mgmt_ms: Floats
    compute_ms: Floats
    read_bytes: Floats


class Phone:
    """A recorded run on the simulated phone; ``token_bytes`` is what computing one token reads."""

    def __init__(self, recorded: PhoneRun, policy: str = "lru") -> None:
        cache = f"memory.cpu_expert_cache={recorded.cache_bytes} B"
        experiment, hardware = _shipped(cache, f"policies.eviction={policy}")
        model = trace_model(recorded.trace.header, recorded.name)
        self.recorded = recorded
        self.inputs = Inputs(experiment, model, hardware, load_software(IDEAL), recorded.trace, seed=0)
        self.token_bytes = sum(model.dense_bytes_by_layer) + model.top_k * sum(model.expert_bytes_by_layer)

    def predict(self, parameters: Parameters) -> Predicted:
        """Play the prompt and the recorded number of tokens."""
        run = Run(self._with(parameters))
        rows: list[tuple[float, ...]] = []
        moved = 0

        def keep(p: Pass, record: Record) -> None:
            nonlocal moved
            before, moved = moved, simulation.player.fabric.links[0].moved_bytes
            if p.decode:
                spent = (sum(record.stall_ns), record.overhead_ns, record.dense_ns + record.expert_ns)
                rows.append((*(ns / 1e6 for ns in spent), moved - before))

        simulation = run.simulation(keep)
        simulation.run(islice(run.workload, len(run.workload) - self._unplayed()))
        return Predicted(*np.array(rows, dtype=np.float64).T)

    def _with(self, p: Parameters) -> Inputs:
        """Return the inputs with parameters in the ordinary fields of runtime and profile."""
        runtime = self.inputs.experiment.runtime
        costs = {"per_pass": round(p.per_pass), "evict_rate": round(p.evict)}
        overhead = runtime.overhead.model_copy(update=costs)
        runtime = runtime.model_copy(update={"overhead": overhead})
        return replace(
            self.inputs,
            experiment=self.inputs.experiment.model_copy(update={"runtime": runtime}),
            hardware=HardwareProfile.model_validate(fitted_profile(p, "fitted")),
        )

    def _unplayed(self) -> int:
        """Return how many of the trace's decoded tokens lie behind the end of the recorded run."""
        return int((self.recorded.trace.phase == 1).sum()) - len(self.recorded)


def fitted_profile(p: Parameters, source: str, *, lanes_limit: bool = False) -> dict[str, Any]:
    """Return the shipped profile with these parameters, as its file would have it; ``source`` says whence.

    ``lanes_limit``: the rate of all lanes is only known to be no less than theirs.
    """
    hardware = _shipped()[1]
    profile: dict[str, Any] = hardware.model_dump(mode="json", exclude_none=True)
    name, costs = hardware.name, f"per_pass {p.per_pass / 1e6:.3f} ms, evict_rate {p.evict / 1e9:.3f} GB/s"
    profile |= {
        "name": f"{name}-fitted",
        "title": f"{hardware.title}, rates fitted",
        "notes": f"{source}: the rates of compute, of flash and of the copy after a read. All else is that "
        f"of {name}, assumptions included. Management was fitted with them and belongs in an experiment's "
        f"runtime.overhead: {costs}.",
    }

    def rate(value: float, source: str = source, *, measured: bool = True) -> dict[str, Any]:
        return {"value": f"{round(value)} B/s", "measured": measured, "source": source}

    total = f"{source}: at least this, the lanes limited" if lanes_limit else source
    efficiency = hardware.main_unit.bandwidth_efficiency.value
    profile["compute"]["cpu"]["memory_bandwidth"] = rate(p.compute / efficiency)
    profile["links"][LINK] |= {
        "lane_bandwidth": rate(p.lane),
        "bandwidth": rate(p.total, total, measured=not lanes_limit),
        "copy_after_read": rate(p.copy),
    }
    return profile


def shipped_parameters() -> Parameters:
    """Return what the shipped profile and experiment say."""
    experiment, hardware = _shipped()
    link, overhead = hardware.links[LINK], experiment.runtime.overhead
    assert link.lane_bandwidth is not None
    assert link.copy_after_read is not None
    return Parameters(
        compute=hardware.main_unit.effective_bytes_per_s,
        lane=link.lane_bandwidth.value,
        total=link.bandwidth.value,
        copy=link.copy_after_read.value,
        per_pass=overhead.per_pass,
        evict=overhead.evict_rate,
    )


def _shipped(*sets: str) -> tuple[Experiment, HardwareProfile]:
    (spec,) = expand(read_yaml(find_named("experiments", EXPERIMENT)), sets)
    return spec.experiment, load_hardware(spec.experiment.hardware)
