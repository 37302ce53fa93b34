"""One run of a sweep, from its specification to its row and its table of tokens."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from simulator import __version__
from simulator.config.units import format_apart
from simulator.engine import checked
from simulator.engine.build import Inputs, Run
from simulator.errors import InputError
from simulator.hardware import HardwareProfile
from simulator.library import Library
from simulator.metrics import Collector, Outcome, Value, summarise
from simulator.quality import published_loss
from simulator.results import RunResult, expert_table, token_table
from simulator.sweep import RunSpec
from simulator.systems import system_label

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
    simulation = run.simulation(_keeper(collector, max(1, len(run.workload)), share))
    simulation.run(run.workload)
    loader = simulation.player.loader
    wasted = loader.speculation.close()
    belady, kind = library.belady(spec, run)
    books = loader.speculation.books
    outcome = Outcome(
        collector=collector,
        link_bytes={link.plan.name: link.moved_bytes for link in loader.fabric.links},
        peak_bytes={tier.name: tier.peak for tier in (loader.top, loader.host) if tier is not None},
        started=books.started,
        useful=books.useful,
        unused=books.unused,
        cancelled=books.cancelled,
        dropped=books.dropped,
        wasted_bytes=wasted,
        belady=belady,
        belady_kind=kind,
        dram_is_next=run.tiers[1] == "cpu",
        expert_bytes=Fraction(sum(run.layer_bytes), len(run.layer_bytes)),
        token_cycle_bytes=inputs.trace.header.top_k * sum(run.layer_bytes),
        loss=published_loss(inputs.model.name, run.precisions),
    )
    assumed = [
        fact for policy in (run.partition, *simulation.policies) for fact in checked.assumptions(policy)
    ]
    flags: dict[str, Value] = {
        "trace_synthetic": str(inputs.trace.header.synthetic).lower(),
        "hardware_measured": str(_measured(inputs.hardware)).lower(),
        "knows_future": str("future" in run.needs).lower(),
        "assumed": " | ".join(dict.fromkeys(assumed)),
        "warnings": " | ".join(_warnings(inputs, run)),
    }
    result = RunResult(
        _identity(ready), dict(spec.swept), summarise(outcome), flags, _config(spec), _files(ready, library)
    )
    steps = len(run.workload) * len(run.layer_bytes)
    resident = loader.top.resident_steps(steps)
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
        "model": inputs.model.name,
        "hardware": inputs.hardware.name,
        "trace": ready.trace_path.stem,
        "seed": spec.seed,
        "gpu_expert_cache_bytes": ready.run.capacity.get("gpu"),
        "cpu_expert_cache_bytes": ready.run.capacity.get("cpu"),
    }


def _config(spec: RunSpec) -> dict[str, Any]:
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
    files[f"model {inputs.model.name}"] = _sha256(repr(inputs.model))
    return files | _policy_files(ready.spec, library)


def _policy_files(spec: RunSpec, library: Library) -> dict[str, str]:
    """Return the digests of policies that are given as ``path/to/file.py:Class``."""
    given = spec.experiment.policies.model_dump(exclude_none=True).values()
    names = [str(policy.get("name") if isinstance(policy, dict) else policy) for policy in given]
    paths = [Path(name.rpartition(":")[0]) for name in names if ".py:" in name]
    return {f"policy {path.name}": library.digest(path) for path in paths}


def _digest(spec: RunSpec, inputs: Inputs, trace_path: Path, library: Library) -> str:
    """Return a hash of everything that decides a run's results."""
    parts: list[str] = [__version__, spec.digest(), library.digest(trace_path)]
    if spec.experiment.training_trace:
        parts.append(library.digest(library.trace(spec.experiment.training_trace)[1]))
    parts += [inputs.hardware.model_dump_json(), repr(inputs.model)]
    parts += _policy_files(spec, library).values()
    return _sha256(json.dumps(parts))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _measured(hardware: HardwareProfile) -> bool:
    """Return whether every number of a profile was measured on such a machine."""

    def numbers(value: Any) -> list[bool]:
        if isinstance(value, dict):
            if "measured" in value:
                return [bool(value["measured"])]
            return [found for inner in value.values() for found in numbers(inner)]
        return []

    return all(numbers(hardware.model_dump()))


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
    if inputs.trace.header.synthetic:
        found.append("the trace is synthetic")
    found += [f"hardware {inputs.hardware.name}: {line}" for line in inputs.hardware.doubts]
    return found
