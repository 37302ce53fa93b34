"""The runner: plays each run of an experiment's sweep that is not done yet, and keeps the results."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from simulator.config.yaml_file import find_named, read_yaml
from simulator.errors import InputError, did_you_mean
from simulator.execute import Backend, Elsewhere, Here, executor
from simulator.faults import Failure, RunError
from simulator.metrics import METRICS, Value
from simulator.results import (
    FLAGS,
    IDENTITY,
    TABLES,
    RunResult,
    check_output,
    fresh_folder,
    is_table,
    provenance,
    read_summary_rows,
    write_results,
)
from simulator.store import Store, open_store
from simulator.sweep import RunSpec, expand


class Progress(Protocol):
    """Who is told how far a sweep is."""

    def advance(self, done: int, runs: int, per_mille: int) -> None:
        """Take in that so many runs are done, and so much of the current one."""

    def ended(self, outcome: RunResult | Failure) -> None:
        """Take in how a run ended."""


@dataclass(slots=True)
class Finished:
    """Where the results are, the runs, and the warnings, each once; failures where some runs are missing."""

    out: Path
    runs: list[RunResult]
    warnings: list[str]
    figures: list[Path]
    failures: list[Failure] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class HowToRun:
    """What a user decides about a sweep that does not change its results."""

    force: bool = False
    resume: bool = False
    keep_going: bool = False
    backend: Backend = field(default_factory=Backend)
    command: Sequence[str] = ()


def run_experiment(
    path: str,
    sets: Sequence[str],
    out: Path | None,
    how: HowToRun | None = None,
    progress: Progress | None = None,
) -> Finished:
    """Run an experiment file with its sweep and write the results; InputError before anything is written.

    A sweep that was interrupted, or had runs that failed, leaves its finished ones beside ``out`` (see
    ``simulator.store``): with ``resume`` they are not played again. A run that fails ends the sweep, or with
    ``keep_going`` is left out of the results.
    """
    how = how or HowToRun()
    started = datetime.now(UTC)
    specs = expand(read_yaml(find_named("experiments", path)), sets)
    figures = tuple(dict.fromkeys(name for spec in specs for name in spec.experiment.figures))
    _check_figures(specs[0].where, figures)
    target = out or Path("results") / specs[0].experiment.name
    with executor(how.backend, len(specs)) as runs_on:
        digests = _checked(runs_on, specs)
        whole = hashlib.sha256(" ".join(digests).encode()).hexdigest()
        check_output(target, whole, force=how.force)
        if how.resume and (runs := _finished(target, whole, specs)):
            return _already(target, runs, figures)
        with open_store(target, resume=how.resume, force=how.force) as store:
            failures = _play(runs_on, specs, digests, store, how, progress)
            store.complete = not failures
            rows = [(store.get(digest), digest, spec) for digest, spec in zip(digests, specs, strict=True)]
            there = [(row, digest, spec) for row, digest, spec in rows if row is not None]
            runs = [_placed(row, spec) for row, _, spec in there]
            if not runs:
                raise RunError(failures[0], "every run failed")
            _tell_apart(runs)
            with fresh_folder(target, keep=not how.force) as folder:
                tables = [store.tables(digest) for _, digest, _ in there]
                write_results(folder, runs, tables, provenance(whole, runs, how.command, started))
                drawn, missing = _draw(folder, figures)
    drawn = [target / figure.relative_to(folder) for figure in drawn]
    return Finished(target, runs, [*_said(runs), *missing], drawn, failures)


def _said(runs: Sequence[RunResult]) -> list[str]:
    """Return what the runs warn of and assume, each once."""
    said = [str(run.flags[flag]) for run in runs for flag in ("warnings", "assumed")]
    return list(dict.fromkeys(line for text in said for line in text.split(" | ") if line))


def _already(target: Path, runs: list[RunResult], figures: Sequence[str]) -> Finished:
    """Return results that are there already, with the figures that they lack drawn."""
    there = {path.stem for path in (target / "figures").glob("*.csv")}
    _, missing = _draw(target, [name for name in figures if name not in there])
    return Finished(target, runs, [*_said(runs), *missing], sorted((target / "figures").glob("*")))


def _finished(target: Path, whole: str, specs: Sequence[RunSpec]) -> list[RunResult]:
    """Return the runs of results that are there already; [] unless they are these, and all of them."""
    rows = read_summary_rows(target, whole)
    if len(rows) != len(specs) or not all(is_table(target / f"{name}.parquet") for name in TABLES):
        return []

    def part(row: Mapping[str, Value], names: Iterable[str]) -> dict[str, Value]:
        return {name: row[name] for name in names if name in row}

    metrics = [metric.name for metric in METRICS]
    return [
        RunResult(part(row, IDENTITY), dict(spec.swept), part(row, metrics), part(row, FLAGS), config={})
        for row, spec in zip(rows, specs, strict=True)
    ]


def _checked(runs_on: Here | Elsewhere, specs: Sequence[RunSpec]) -> list[str]:
    """Return the hash of every run. Errors: InputError (the first that cannot start)."""
    digests = []
    for checked in runs_on.checks(specs):
        if isinstance(checked, InputError):
            raise checked
        digests.append(checked)
    return digests


def _play(
    runs_on: Here | Elsewhere,
    specs: Sequence[RunSpec],
    digests: Sequence[str],
    store: Store,
    how: HowToRun,
    progress: Progress | None,
) -> list[Failure]:
    """Play what is not in the store yet; return the failures. Errors: InputError (the first failure)."""
    todo = [i for i, digest in enumerate(digests) if store.get(digest) is None]
    done = len(specs) - len(todo)

    def share(place: int, per_mille: int) -> None:
        if progress is not None:
            progress.advance(done + place, len(specs), per_mille)

    failures = []
    for place, outcome in runs_on.executes([specs[i] for i in todo], share):
        if progress is not None:
            progress.ended(outcome if isinstance(outcome, Failure) else outcome[0])
        if isinstance(outcome, Failure):
            if not how.keep_going:
                raise RunError(outcome)
            failures.append(outcome)
        else:
            store.put(digests[todo[place]], *outcome)
    return failures


def _placed(row: RunResult, spec: RunSpec) -> RunResult:
    """Return a run's row under its number and swept keys in this sweep."""
    row.identity["run"] = spec.index
    row.swept = dict(spec.swept)
    return row


def _check_figures(where: str, figures: Sequence[str]) -> None:
    from simulator.plots import FIGURES

    for name in figures:
        if name not in FIGURES:
            raise InputError(f"{where}: figures", f"unknown figure ({name!r})", did_you_mean(name, FIGURES))


def _draw(folder: Path, figures: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Draw figures; return their files, and of those that the runs lack the data for, why."""
    if not figures:
        return [], []
    from simulator.plots import draw

    missing: list[str] = []
    drawn = draw(
        figures,
        folder,
        left_out=lambda name, error: missing.append(f"figure {name} is left out: {error.what}; {error.hint}"),
    )
    return drawn, missing


def _tell_apart(runs: Sequence[RunResult]) -> None:
    """Name models, machines and traces as the experiment does where their own names do not differ."""
    for key in ("model", "hardware", "trace"):
        given: dict[Value, set[str]] = defaultdict(set)
        for run in runs:
            given[run.identity[key]].add(run.config[key])
        for run in runs:
            if len(given[run.identity[key]]) > 1:
                run.identity[key] = run.config[key]
