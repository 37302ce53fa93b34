"""One run of a sweep, from its specification to its row and its table of tokens."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from policies.base import Policy
from policies.origin import Origin, origin, own_code
from policies.registry import named
from simulator import __version__
from simulator.assemble.costs import UNTOLD_TENSORS
from simulator.assemble.library import Library
from simulator.assemble.run import Inputs, Run
from simulator.config.paths import shown
from simulator.config.units import format_apart
from simulator.engine import checked
from simulator.errors import InputError
from simulator.experiment.sweep import RunSpec
from simulator.experiment.systems import system_label
from simulator.machine.hardware import HardwareProfile
from simulator.machine.software import SoftwareProfile
from simulator.model.spec import ModelSpec
from simulator.results.collect import Collector
from simulator.results.metrics import Outcome, Value, summarise
from simulator.results.quality import MOST_SKIPPED, published_loss
from simulator.results.summary import RunResult
from simulator.results.tables import expert_table, token_table
from simulator.text import printable

Share = Callable[[int], None]
"""Called with the per mille of a run that is done."""
Played = tuple[RunResult, dict[str, Any]]
"""A run's row of the summary, and its ``results.TABLES``, each a ``pyarrow.Table``."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A run that can start: everything that could be refused has been checked."""

    spec: RunSpec
    inputs: Inputs
    trace_path: Path
    run: Run
    digest: str

    def unknown(self) -> list[str]:
        """Return what may decide its results and cannot be known."""
        return [
            f"policy {name}: {fault}" for name, made in _origins(self.spec).items() for fault in made.unknown
        ]


def prepare(spec: RunSpec, library: Library) -> Ready:
    """Load what a run names and put it together; what is wrong is said with the run's place in its file."""
    try:
        inputs, trace_path = library.inputs(spec)
        return Ready(spec, inputs, trace_path, Run(inputs), _digest(spec, inputs, trace_path, library))
    except InputError as error:
        raise InputError(f"{spec.where}: {error.where}", error.what, error.hint) from None


def play(ready: Ready, library: Library, share: Share | None = None) -> Played:
    """Play a run; return its row and its tables."""
    spec, inputs, run = ready.spec, ready.inputs, ready.run
    collector = Collector(tuple(link.name for link in run.machine.links))
    keep = _keeper(collector, max(1, len(run.workload)), share)
    simulation = run.processes(keep) if spec.engine == "simpy" else run.simulation(keep)
    simulation.run(run.workload)
    answer = simulation.close()
    belady, kind = library.belady(spec, run)
    outcome = Outcome(
        collector=collector,
        link_bytes=answer.link_bytes,
        peak_bytes=answer.peak_bytes,
        started=answer.started,
        useful=answer.useful,
        unused=answer.unused,
        cancelled=answer.cancelled,
        dropped=answer.dropped,
        wasted_bytes=answer.wasted_bytes,
        belady=belady,
        belady_kind=kind,
        dram_is_next=run.tiers[1] == "cpu",
        expert_bytes=Fraction(sum(run.layer_bytes), len(run.layer_bytes)),
        token_cycle_bytes=inputs.trace.header.top_k * sum(run.layer_bytes),
        loss=published_loss(inputs.model.name, run.precisions),
    )
    metrics = summarise(outcome)
    policies = (run.partition, *simulation.policies)
    assumed = [fact for policy in policies for fact in checked.assumptions(policy)]
    if (stand_in := inputs.trace.header.assumed_weights) is not None:
        assumed.append(f"trace: gate weights by rank, means of {stand_in}")
    assumed += [f"model: {fact}" for fact in getattr(inputs.model, "assumed", ())]
    foreknowing = _foreknowing(run, policies)
    warnings = [*_foreknown(inputs, foreknowing), *_skipped(metrics), *_warnings(inputs, run)]
    flags: dict[str, Value] = {
        "trace_synthetic": str(inputs.trace.header.synthetic).lower(),
        "hardware_measured": _measured(inputs.hardware),
        "software_measured": _measured(inputs.software),
        "knows_future": str("future" in run.needs or bool(foreknowing)).lower(),
        "learnt_from": _learnt_from(inputs),
        "assumed": " | ".join(dict.fromkeys(assumed)),
        "warnings": " | ".join(warnings),
    }
    result = RunResult(
        _identity(ready),
        dict(spec.swept),
        metrics,
        flags,
        resolved(spec),
        _files(ready, library),
        ready.digest,
    )
    steps = len(run.workload) * len(run.layer_bytes)
    resident = simulation.resident_steps(steps)
    lookups = library.lookups(spec, run)
    experts = expert_table(lookups, resident, run.n_versions, steps)
    return result, {"tokens": token_table(collector), "experts": experts}


def _keeper(collector: Collector, n_passes: int, share: Share | None) -> Callable[[Any, Any], None]:
    told = -1

    def keep(p: Any, record: Any) -> None:
        nonlocal told
        collector.keep(p, record)
        done = (p.index + 1) * 1000 // n_passes
        if share is not None and done != told:
            told = done
            share(done)

    return keep


def _identity(ready: Ready) -> dict[str, Value]:
    spec, inputs = ready.spec, ready.inputs
    return {
        "run": spec.index,
        "experiment": spec.experiment.name,
        "system": system_label(spec.experiment),
        "model": printable(inputs.model.name),
        "hardware": printable(inputs.hardware.name),
        "software": printable(inputs.software.name),
        "trace": printable(ready.trace_path.stem),
        "seed": spec.seed,
        "gpu_expert_cache_bytes": ready.run.capacity.get("gpu"),
        "cpu_expert_cache_bytes": ready.run.capacity.get("cpu"),
    }


def resolved(spec: RunSpec) -> dict[str, Any]:
    """Return a run's experiment as plain data that can itself be run; its paths are absolute."""
    config = spec.experiment.model_dump(mode="json", exclude={"sweep", "tune"}, exclude_none=True)
    config["sweep"] = {"seeds": [spec.seed]}
    return config


def _files(ready: Ready, library: Library) -> dict[str, str]:
    inputs = ready.inputs
    files = {f"trace {ready.trace_path.name}": library.digest(ready.trace_path)}
    if ready.spec.experiment.training_trace:
        path = library.trace(ready.spec.experiment.training_trace)[1]
        files[f"training trace {path.name}"] = library.digest(path)
    files[f"hardware {inputs.hardware.name}"] = _sha256(inputs.hardware.model_dump_json())
    files[f"software {inputs.software.name}"] = _sha256(inputs.software.model_dump_json())
    files[f"model {inputs.model.name}"] = _sha256(repr(inputs.model))
    return files | {f"policy {name}": str(made) for name, made in _origins(ready.spec).items()}


def _origins(spec: RunSpec) -> dict[str, Origin]:
    """Return what policies that are not built in are made of, by axis and name."""
    given = spec.experiment.policies.model_dump(exclude_none=True)
    names = shown(given, ("policies",))
    found = {}
    for key, policy in given.items():
        axis, name = key.removeprefix("cpu_"), names[key]
        if (made := origin(axis, policy)) is not None:
            found[f"{axis} {name['name'] if isinstance(name, dict) else name}"] = made
    return found


def _digest(spec: RunSpec, inputs: Inputs, trace_path: Path, library: Library) -> str:
    """Return a hash of everything that decides a run's results."""
    parts: list[str] = [__version__, own_code(), spec.digest(), library.digest(trace_path)]
    if spec.experiment.training_trace:
        parts.append(library.digest(library.trace(spec.experiment.training_trace)[1]))
    parts += [inputs.hardware.model_dump_json(), inputs.software.model_dump_json(), repr(inputs.model)]
    parts += [f"{name}: {made}" for name, made in _origins(spec).items()]
    return _sha256(json.dumps(parts))


def _foreknowing(run: Run, policies: Iterable[Policy]) -> list[str]:
    """Return the names of the policies that learnt beforehand from what is then replayed."""
    learners = [policy for policy in policies if policy.learns_beforehand]
    return list(dict.fromkeys(map(named, learners))) if learners and run.replays_what_is_learnt else []


def _foreknown(inputs: Inputs, learners: list[str]) -> list[str]:
    """Return the warning that policies know the future because they learnt from it, and the remedy."""
    if not learners:
        return []
    source = "a training_trace that has replayed sequences" if inputs.training else "what is replayed"
    who = f"{', '.join(learners)} know{'s' * (len(learners) == 1)} the future, learnt from {source}"
    return [f"{who}: not ranked; name a training_share, or a training_trace of other sequences"]


def _learnt_from(inputs: Inputs) -> str:
    """Return what the experiment gives policies to learn from beforehand; "" where it gives nothing."""
    experiment, training = inputs.experiment, inputs.training
    if training is None:
        return ""
    if experiment.training_trace is not None:
        return str(shown(experiment.training_trace, ("training_trace",)))
    first, last = int(training.sequence[0]), int(training.sequence[-1])
    which = f"sequence {first}" if first == last else f"sequences {first} to {last}"
    return f"{which} of {shown(experiment.trace, ('trace',))}, not replayed"


def _skipped(metrics: Mapping[str, Value]) -> list[str]:
    """Return the warning that more is skipped than a model bears."""
    share = metrics["gate_mass_skipped"]
    if not isinstance(share, (int, float)) or share <= MOST_SKIPPED:
        return []
    limit = f"above {100 * MOST_SKIPPED:g} %, perplexity suffers"
    return [f"{100 * share:.1f} % of the gate mass is skipped: {limit}"]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _measured(profile: HardwareProfile | SoftwareProfile) -> str:
    """Return whether every number of a profile was measured on such a machine; "" where it has none."""

    def numbers(value: Any) -> list[bool]:
        if isinstance(value, dict):
            if "measured" in value:
                return [bool(value["measured"])]
            return [found for inner in value.values() for found in numbers(inner)]
        return []

    found = numbers(profile.model_dump())
    return str(all(found)).lower() if found else ""


def _warnings(inputs: Inputs, run: Run) -> list[str]:
    """Return what a reader of the results must know."""
    found = []
    sizes, k = run.layer_bytes, inputs.trace.header.top_k
    for capacity, layers in run.pools(0):
        cycle = k * sum(sizes[layer] for layer in layers)
        if len(layers) > 1 and capacity < cycle:
            has, needs = format_apart(capacity, cycle)
            found.append(
                f"the {run.tiers[0]} cache ({has}) is smaller than one token's cycle "
                f"through the layers ({needs}): LRU finds nothing in it"
            )
            break
    software = inputs.software
    if software.issue and not software.cpu_experts and getattr(run.policies["placement"], "uses_cpu", False):
        found.append(
            f"software {software.name} says nothing of experts on the CPU: the hardware profile does"
        )
    if inputs.trace.header.synthetic:
        found.append("the trace is synthetic")
    if isinstance(inputs.model, ModelSpec):
        falls = dict.fromkeys(fall for name in run.precisions for fall in inputs.model.fallbacks(name))
        found += [
            f"{asked} needs rows of a multiple of 256 weights; rows of {columns} are {kind}, as in llama.cpp"
            for asked, kind, columns in falls
        ]
    elif inputs.experiment.runtime.parts == "tensors" and not inputs.model.expert_tensor_bytes:
        found.append(
            f"the trace does not tell the tensors of an expert: {UNTOLD_TENSORS} equal ones are assumed"
        )
    found += [f"hardware {inputs.hardware.name}: {line}" for line in inputs.hardware.doubts]
    return found
