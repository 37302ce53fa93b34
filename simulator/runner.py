"""The runner: loads what an experiment names, plays each run of its sweep, and keeps the results."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from simulator import __version__
from simulator.config.experiment import Experiment, Policies
from simulator.config.units import format_bytes
from simulator.config.yaml_file import find_named, read_yaml
from simulator.engine.build import Inputs, Run
from simulator.engine.future import KnownFuture, belady_hit_rate
from simulator.errors import InputError
from simulator.hardware import HardwareProfile, load_hardware
from simulator.metrics import Collector, Outcome, Value, summarise
from simulator.model.load import TraceModel, load_model, trace_model
from simulator.model.spec import ModelSpec
from simulator.results import (
    RunResult,
    check_output,
    file_sha256,
    fresh_folder,
    provenance,
    write_results,
)
from simulator.sweep import RunSpec, expand, load_system
from simulator.trace.core import Trace

Progress = Callable[[int, int, int], None]
"""Called with (runs done, runs, per mille of the current run)."""


@dataclass(slots=True)
class Finished:
    """Where the results are, the runs, and the warnings, each once."""

    out: Path
    runs: list[RunResult]
    warnings: list[str]
    figures: list[Path]


class Library:
    """Loads traces, models and profiles once each."""

    def __init__(self) -> None:
        self.trace = cache(self._trace)
        self.model = cache(load_model)
        self.hardware = cache(load_hardware)
        self.digest = cache(file_sha256)
        self.belady: dict[tuple[Any, ...], tuple[float | None, str]] = {}

    @staticmethod
    def _trace(name: str) -> tuple[Trace, Path]:
        from simulator.trace.parquet import read_trace

        path = find_named("traces", name)
        return read_trace(path), path

    def inputs(self, spec: RunSpec) -> tuple[Inputs, Path]:
        """Return what a run needs, loaded."""
        trace, path = self.trace(spec.experiment.trace)
        model: ModelSpec | TraceModel
        if spec.experiment.model == "trace":
            model = trace_model(trace.header)
            if spec.experiment.precision.experts or spec.experiment.precision.dense:
                raise InputError(
                    "precision", "model: trace has only the recorded sizes", "name a model instead"
                )
        else:
            model = self.model(spec.experiment.model)
        hardware: HardwareProfile = self.hardware(spec.experiment.hardware)
        return Inputs(spec.experiment, model, hardware, trace, spec.seed), path


def run_experiment(
    path: str,
    sets: Sequence[str],
    out: Path | None,
    *,
    force: bool = False,
    command: Sequence[str] = (),
    progress: Progress | None = None,
) -> Finished:
    """Run an experiment file with its sweep and write the results; InputError before anything is written."""
    started = datetime.now(UTC)
    specs = expand(read_yaml(find_named("experiments", path)), sets)
    library = Library()
    prepared = [library.inputs(spec) for spec in specs]
    figures = tuple(dict.fromkeys(name for spec in specs for name in spec.experiment.figures))
    _check_figures(figures)
    target = out or Path("results") / specs[0].experiment.name
    digest = _digest(specs, [library.digest(trace_path) for _, trace_path in prepared], prepared)
    check_output(target, digest, force=force)
    ready = [Run(inputs) for inputs, _ in prepared]  # refuses what does not fit before anything runs
    with fresh_folder(target) as folder:
        runs: list[RunResult] = []
        for spec, (inputs, trace_path), run in zip(specs, prepared, ready, strict=True):
            runs.append(_play(spec, inputs, trace_path, run, library, progress, len(specs)))
        write_results(folder, runs, provenance(digest, runs, command, started))
        drawn = _draw(folder, figures)
    warnings = list(dict.fromkeys(w for run in runs for w in str(run.flags["warnings"]).split(" | ") if w))
    return Finished(target, runs, warnings, [target / figure.relative_to(folder) for figure in drawn])


def _check_figures(figures: Sequence[str]) -> None:
    from simulator.errors import did_you_mean
    from simulator.plots import FIGURES

    for name in figures:
        if name not in FIGURES:
            raise InputError("figures", f"unknown figure ({name!r})", did_you_mean(name, FIGURES))


def _draw(folder: Path, figures: Sequence[str]) -> list[Path]:
    if not figures:
        return []
    from simulator.plots import draw

    return draw(figures, folder)


def _digest(specs: Sequence[RunSpec], traces: Sequence[str], prepared: Sequence[tuple[Inputs, Path]]) -> str:
    """Return a hash of everything that decides the results."""
    parts = [
        [spec.digest(), trace, inputs.hardware.model_dump_json(), repr(inputs.model)]
        for spec, trace, (inputs, _) in zip(specs, traces, prepared, strict=True)
    ]
    return hashlib.sha256(json.dumps([__version__, parts], sort_keys=True).encode()).hexdigest()


def _play(
    spec: RunSpec,
    inputs: Inputs,
    trace_path: Path,
    run: Run,
    library: Library,
    progress: Progress | None,
    n_runs: int,
) -> RunResult:
    collector = Collector(tuple(link.name for link in run.machine.links))
    n_passes = max(1, len(run.workload))
    told = -1

    def keep(p: Any, record: Any) -> None:
        nonlocal told
        collector.keep(p, record)
        share = (p.index + 1) * 1000 // n_passes
        if progress is not None and share != told:
            told = share
            progress(spec.index, n_runs, share)

    simulation = run.simulation(keep)
    simulation.run(run.workload)
    loader = simulation.player.loader
    wasted = loader.speculation.close()
    belady, kind = _belady(spec, run, library)
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
    )
    experiment = spec.experiment
    identity: dict[str, Value] = {
        "run": spec.index,
        "experiment": experiment.name,
        "system": _system_label(experiment),
        "model": inputs.model.name,
        "hardware": inputs.hardware.name,
        "trace": trace_path.stem,
        "seed": spec.seed,
        "gpu_expert_cache_bytes": run.capacity.get("gpu"),
        "cpu_expert_cache_bytes": run.capacity.get("cpu"),
    }
    flags: dict[str, Value] = {
        "trace_synthetic": str(inputs.trace.header.synthetic).lower(),
        "hardware_measured": str(_measured(inputs.hardware)).lower(),
        "warnings": " | ".join(_warnings(inputs, run)),
    }
    files = {
        f"trace {trace_path.name}": library.digest(trace_path),
        f"hardware {inputs.hardware.name}": _sha256(inputs.hardware.model_dump_json()),
        f"model {inputs.model.name}": _sha256(repr(inputs.model)),
    }
    config = {"run": spec.index, "seed": spec.seed, **experiment.model_dump(mode="json", exclude={"sweep"})}
    return RunResult(identity, spec.swept, summarise(outcome), collector, flags, config, files)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _system_label(experiment: Experiment) -> str:
    """Return the system's name; a preset whose policies were overridden is called modified."""
    if experiment.system is None:
        return _policy_name(experiment.policies.eviction)
    preset = Policies.model_validate(load_system(experiment.system, "system").policies)
    return experiment.system + ("" if preset == experiment.policies else " (modified)")


def _policy_name(spec: str | dict[str, Any]) -> str:
    return spec if isinstance(spec, str) else str(spec.get("name"))


def _belady(spec: RunSpec, run: Run, library: Library) -> tuple[float | None, str]:
    """Return the bound for tier 0, worked out once for each demand, capacity and partition."""
    experiment = spec.experiment
    pools = run.pools(0)
    key = (
        experiment.trace,
        experiment.workload,
        run.layer_bytes,
        tuple((c, tuple(ls)) for c, ls in pools),
        run.runtime.evict,
    )
    if key not in library.belady:
        events = run.events()
        context = replace(run.context(), future=KnownFuture(events))
        layers = itertools.cycle(range(len(run.layer_bytes)))
        bound = belady_hit_rate(events, layers, pools, run.layer_bytes, context, run.runtime.evict)
        library.belady[key] = (bound.hit_rate, "heuristic" if bound.heuristic else "exact")
    return library.belady[key]


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
            found.append(
                f"the {run.tiers[0]} cache ({format_bytes(capacity)}) is smaller than one token's cycle "
                f"through the layers ({format_bytes(cycle)}): LRU finds nothing in it"
            )
            break
    if inputs.trace.header.synthetic:
        found.append("the trace is synthetic")
    return found
