"""The runner: loads what an experiment names, plays each run of its sweep, and keeps the results."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

from simulator import __version__
from simulator.config.units import format_bytes
from simulator.config.yaml_file import find_named, read_yaml
from simulator.engine.build import Inputs, Run
from simulator.errors import InputError, did_you_mean
from simulator.hardware import HardwareProfile
from simulator.library import Library
from simulator.metrics import Collector, Outcome, Value, summarise
from simulator.quality import published_loss
from simulator.results import RunResult, check_output, fresh_folder, provenance, write_results
from simulator.sweep import RunSpec, expand
from simulator.systems import system_label

Progress = Callable[[int, int, int], None]
"""Called with (runs done, runs, per mille of the current run)."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A run that can start: everything that could be refused has been checked."""

    spec: RunSpec
    inputs: Inputs
    trace_path: Path
    run: Run


@dataclass(slots=True)
class Finished:
    """Where the results are, the runs, and the warnings, each once."""

    out: Path
    runs: list[RunResult]
    warnings: list[str]
    figures: list[Path]


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
    figures = tuple(dict.fromkeys(name for spec in specs for name in spec.experiment.figures))
    _check_figures(specs[0].where, figures)
    library = Library()
    ready = [_prepare(spec, library) for spec in specs]
    target = out or Path("results") / specs[0].experiment.name
    digest = _digest(ready, library)
    check_output(target, digest, force=force)
    with fresh_folder(target) as folder:
        runs = [_play(one, library, progress, len(ready)) for one in ready]
        _tell_apart(runs)
        write_results(folder, runs, provenance(digest, runs, command, started))
        drawn = _draw(folder, figures)
    said = [str(run.flags[flag]) for run in runs for flag in ("warnings", "assumed")]
    warnings = list(dict.fromkeys(line for text in said for line in text.split(" | ") if line))
    return Finished(target, runs, warnings, [target / figure.relative_to(folder) for figure in drawn])


def _prepare(spec: RunSpec, library: Library) -> Ready:
    """Load what a run names and put it together; what is wrong is said with the run's place in its file."""
    try:
        inputs, trace_path = library.inputs(spec)
        return Ready(spec, inputs, trace_path, Run(inputs))
    except InputError as error:
        raise InputError(f"{spec.where}: {error.where}", error.what, error.hint) from None


def _check_figures(where: str, figures: Sequence[str]) -> None:
    from simulator.plots import FIGURES

    for name in figures:
        if name not in FIGURES:
            raise InputError(f"{where}: figures", f"unknown figure ({name!r})", did_you_mean(name, FIGURES))


def _draw(folder: Path, figures: Sequence[str]) -> list[Path]:
    if not figures:
        return []
    from simulator.plots import draw

    return draw(figures, folder)


def _digest(ready: Sequence[Ready], library: Library) -> str:
    """Return a hash of everything that decides the results."""
    parts = [
        [
            one.spec.digest(),
            library.digest(one.trace_path),
            one.inputs.hardware.model_dump_json(),
            repr(one.inputs.model),
        ]
        for one in ready
    ]
    return _sha256(json.dumps([__version__, parts], sort_keys=True))


def _play(ready: Ready, library: Library, progress: Progress | None, n_runs: int) -> RunResult:
    spec, inputs, trace_path, run = ready.spec, ready.inputs, ready.trace_path, ready.run
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
        loss=published_loss(inputs.model.name, run.precisions),
    )
    experiment = spec.experiment
    identity: dict[str, Value] = {
        "run": spec.index,
        "experiment": experiment.name,
        "system": system_label(experiment),
        "model": inputs.model.name,
        "hardware": inputs.hardware.name,
        "trace": trace_path.stem,
        "seed": spec.seed,
        "gpu_expert_cache_bytes": run.capacity.get("gpu"),
        "cpu_expert_cache_bytes": run.capacity.get("cpu"),
    }
    assumed = [fact for policy in (run.partition, *simulation.policies) for fact in policy.assumptions()]
    flags: dict[str, Value] = {
        "trace_synthetic": str(inputs.trace.header.synthetic).lower(),
        "hardware_measured": str(_measured(inputs.hardware)).lower(),
        "assumed": " | ".join(dict.fromkeys(assumed)),
        "warnings": " | ".join(_warnings(inputs, run)),
    }
    files = {
        f"trace {trace_path.name}": library.digest(trace_path),
        f"hardware {inputs.hardware.name}": _sha256(inputs.hardware.model_dump_json()),
        f"model {inputs.model.name}": _sha256(repr(inputs.model)),
    }
    config = experiment.model_dump(mode="json", exclude={"sweep"}, exclude_none=True)
    config["sweep"] = {"seeds": [spec.seed]}
    return RunResult(identity, spec.swept, summarise(outcome), collector, flags, config, files)


def _tell_apart(runs: Sequence[RunResult]) -> None:
    """Name models, machines and traces as the experiment does where their own names do not differ."""
    for key in ("model", "hardware", "trace"):
        given: dict[Value, set[str]] = defaultdict(set)
        for run in runs:
            given[run.identity[key]].add(run.config[key])
        for run in runs:
            if len(given[run.identity[key]]) > 1:
                run.identity[key] = run.config[key]


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
            found.append(
                f"the {run.tiers[0]} cache ({format_bytes(capacity)}) is smaller than one token's cycle "
                f"through the layers ({format_bytes(cycle)}): LRU finds nothing in it"
            )
            break
    if inputs.trace.header.synthetic:
        found.append("the trace is synthetic")
    return found
