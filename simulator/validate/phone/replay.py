"""The phone, simulated: the shipped experiment and profile, what is set in them, and other parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from simulator.assemble.run import Inputs, Run
from simulator.config.yaml_file import find_named, read_yaml
from simulator.engine.demand import Pass, Record
from simulator.errors import InputError
from simulator.experiment.schema import Experiment
from simulator.experiment.sweep import expand, parse_set
from simulator.machine.hardware import HardwareProfile, LinkName, load_hardware
from simulator.machine.software import IDEAL, load_software
from simulator.trace.sizes import trace_model
from simulator.validate.accuracy import Floats
from simulator.validate.phone.recorded import PhoneRun

EXPERIMENT = "phone-bigmoe"
LINK: LinkName = "ssd_to_cpu"
LANES = 4  # reading threads of that engine
FREE = ("hardware", "policies", "runtime", "workload.prefill_chunk")
"""What may be set; the recorded runs say all else."""
FITTED = ("per_pass", "evict_rate")
"""Parts of ``runtime.overhead`` that a fit decides."""


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

    def __init__(self, recorded: PhoneRun, sets: Sequence[str] = ()) -> None:
        self.sets = sets
        experiment, hardware = load(*sets, f"memory.cpu_expert_cache={recorded.cache_bytes} B")
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
            hardware=HardwareProfile.model_validate(fitted_profile(p, "fitted", self.sets)),
        )

    def _unplayed(self) -> int:
        """Return how many of the trace's decoded tokens lie behind the end of the recorded run."""
        return int((self.recorded.trace.phase == 1).sum()) - len(self.recorded)


def fitted_profile(
    p: Parameters, source: str, sets: Sequence[str] = (), *, lanes_limit: bool = False
) -> dict[str, Any]:
    """Return the profile with these parameters, as its file would have it; ``source`` says whence.

    ``lanes_limit``: the rate of all lanes is only known to be no less than theirs.
    """
    hardware = load(*sets)[1]
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


def parameters_of(sets: Sequence[str] = ()) -> Parameters:
    """Return what profile and experiment say. Errors: InputError (a profile of no such machine)."""
    experiment, hardware = load(*sets)
    link, overhead = hardware.links.get(LINK), experiment.runtime.overhead
    if link is None or link.lane_bandwidth is None or link.copy_after_read is None:
        raise InputError(
            f"hardware {hardware.name}",
            f"no link {LINK} with lane_bandwidth and copy_after_read",
            "such as oneplus-15r",
        )
    return Parameters(
        compute=hardware.main_unit.effective_bytes_per_s,
        lane=link.lane_bandwidth.value,
        total=link.bandwidth.value,
        copy=link.copy_after_read.value,
        per_pass=overhead.per_pass,
        evict=overhead.evict_rate,
    )


def load(*sets: str) -> tuple[Experiment, HardwareProfile]:
    """Return the shipped experiment with what is set in it, and the profile that it names."""
    (spec,) = expand(read_yaml(find_named("experiments", EXPERIMENT)), sets)
    return spec.experiment, load_hardware(spec.experiment.hardware)


def check_sets(sets: Sequence[str], *, fits: bool) -> None:
    """Refuse what is set and has no effect here; ``fits`` if parameters are fitted. Errors: InputError."""
    for text in sets:
        key = parse_set(text)[0]
        if not any(key == free or key.startswith(f"{free}.") for free in FREE):
            raise InputError(
                f"--set {key}", "has no effect on this validation", f"allowed: {', '.join(FREE)}"
            )
    ours, theirs = (load(*given)[0].runtime.overhead for given in (sets, ()))
    for name in FITTED if fits else ():
        if getattr(ours, name) != getattr(theirs, name):
            raise InputError(
                f"--set runtime.overhead.{name}",
                "has no effect with --fit-trace: it is fitted",
                "leave it out",
            )
