"""The runner: plays each run of an experiment's sweep that is not done yet, and keeps the results."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from simulator.config.paths import relative_to, short_names
from simulator.config.yaml_file import Document, find_named, read_yaml
from simulator.errors import InputError, did_you_mean
from simulator.experiment.sweep import EngineName, RunSpec, expand
from simulator.results.files import read_summary_rows, write_results
from simulator.results.folder import check_output, fresh_folder, partial_folder
from simulator.results.manifest import provenance
from simulator.results.metrics import METRICS, Value
from simulator.results.store import Store, open_store
from simulator.results.summary import FLAGS, IDENTITY, RunResult
from simulator.runs.backends import Backend, Elsewhere, Here, executor
from simulator.runs.faults import Failure, RunError, failure
from simulator.runs.play import Played, resolved


class Progress(Protocol):
    """Who is told how far a sweep is."""

    def advance(self, done: int, runs: int, per_mille: int) -> None:
        """Take in that so many runs are done, and so much of the current one."""

    def ended(self, outcome: RunResult | Failure) -> None:
        """Take in how a run ended."""


@dataclass(slots=True)
class Finished:
    """Where the results are, the runs, and the warnings, each once; failures where some runs are missing.

    ``already``: they were there, and nothing was played.
    """

    out: Path
    runs: list[RunResult]
    warnings: list[str]
    figures: list[Path]
    failures: list[Failure] = field(default_factory=list)
    already: bool = False


@dataclass(frozen=True, slots=True)
class HowToRun:
    """What a user decides about a sweep that does not change its results."""

    force: bool = False
    resume: bool = False
    keep_going: bool = False
    backend: Backend = field(default_factory=Backend)
    engine: EngineName = "auto"
    command: Sequence[str] = ()


def run_experiment(
    source: str | Document,
    sets: Sequence[str],
    out: Path | None,
    how: HowToRun | None = None,
    progress: Progress | None = None,
) -> Finished:
    """Run an experiment with its sweep and write the results; InputError before anything is written.

    ``source`` is a name of ``list experiments``, a path, or what a file would hold.

    A sweep that was interrupted, or had runs that failed, leaves its finished ones beside ``out`` (see
    ``results.store``): with ``resume`` they are not played again. A run that fails ends the sweep, or with
    ``keep_going`` is left out of the results.
    """
    how = how or HowToRun()
    started = datetime.now(UTC)
    refused: list[InputError] | None = [] if how.keep_going else None
    document = source if isinstance(source, Document) else read_yaml(find_named("experiments", source))
    specs = [replace(spec, engine=how.engine) for spec in expand(document, sets, refused)]
    figures = tuple(dict.fromkeys(name for spec in specs for name in spec.experiment.figures))
    _check_figures(specs[0].where, figures)
    target = out or Path("results") / specs[0].experiment.name
    with executor(how.backend, len(specs)) as runs_on:
        todo = _checked(runs_on, specs, refused)
        whole = hashlib.sha256(" ".join(run.digest for run in todo).encode()).hexdigest()
        check_output(target, whole, force=how.force)
        left_out = [_left_out(error) for error in refused or ()]
        if how.resume and (runs := _finished(target, whole, todo)):
            _tidy(target, todo, left_out)
            return _already(target, runs, figures, _unknown(todo), left_out)
        with open_store(target, resume=how.resume, force=how.force) as store:
            check_output(target, whole, force=how.force)  # nobody else can change it from here on
            kept = [run for run in todo if store.get(run.digest) is not None]
            failures = _play(runs_on, todo, store, how, progress)
            there = _read(store, todo, failures)
            store.complete = not failures and not left_out
            runs = [_renumbered(row, run.spec, target) for run, row in there]
            if not runs:
                raise RunError(failures[0], "every run failed")
            _tell_apart(runs)
            _fill_in(runs)
            with fresh_folder(target, store.folder) as folder:
                tables = [store.tables(run.digest) for run, _ in there]
                engine = "player" if how.engine == "auto" else how.engine
                about = provenance(whole, runs, how.command, started, engine)
                write_results(folder, runs, tables, about)
                drawn, missing, failed = _draw(folder, figures)
    drawn = [target / figure.relative_to(folder) for figure in drawn]
    warned = [*_said(runs), *_unknown(kept), *missing]
    return Finished(target, runs, warned, drawn, [*left_out, *failures, *failed])


@dataclass(frozen=True, slots=True)
class Todo:
    """A run that can start, the hash of all that decides it, and what may decide it and cannot be known."""

    spec: RunSpec
    digest: str
    unknown: Sequence[str]


def _left_out(error: InputError) -> Failure:
    """Return what to say of a run that was refused beforehand."""
    return error.failure if isinstance(error, RunError) else Failure(error.where, _cause(error))


def _cause(error: InputError) -> str:
    return f"{error.what}; {error.hint}" if error.hint else error.what


def _unknown(kept: Sequence[Todo]) -> list[str]:
    """Return what may have changed since runs that are not played again were played."""
    return list(
        dict.fromkeys(
            f"kept runs may be stale, start anew with --force if so: {u}" for run in kept for u in run.unknown
        )
    )


def _read(store: Store, todo: Sequence[Todo], failures: Sequence[Failure]) -> list[tuple[Todo, RunResult]]:
    """Return the runs that are finished. Errors: InputError where one that did not fail is not there."""
    rows = [(run, store.get(run.digest)) for run in todo]
    there = [(run, row) for run, row in rows if row is not None]
    if len(there) + len(failures) != len(todo):
        raise InputError(
            str(store.folder), "a finished run cannot be read back", "play it again with --resume"
        )
    return there


def _tidy(target: Path, todo: Sequence[Todo], left_out: Sequence[Failure]) -> None:
    """Remove what a command that was killed at its very end left beside finished results."""
    if partial_folder(target).exists() and not left_out:
        with open_store(target, resume=True, force=False) as store:
            store.complete = False  # other runs may be in it
            store.entries.remove({run.digest for run in todo})


def _said(runs: Sequence[RunResult]) -> list[str]:
    """Return what the runs warn of and assume, each once."""
    said = [str(run.flags[flag]) for run in runs for flag in ("warnings", "assumed")]
    return list(dict.fromkeys(line for text in said for line in text.split(" | ") if line))


def _already(
    target: Path,
    runs: list[RunResult],
    figures: Sequence[str],
    unknown: Sequence[str],
    left_out: list[Failure],
) -> Finished:
    """Return results that are there already, with the figures that they lack drawn."""
    there = {path.stem for path in (target / "figures").glob("*.csv")}
    _, missing, failed = _draw(target, [name for name in figures if name not in there])
    shown = sorted((target / "figures").glob("*"))
    warned = [*_said(runs), *unknown, *missing]
    return Finished(target, runs, warned, shown, [*left_out, *failed], already=True)


def _finished(target: Path, whole: str, todo: Sequence[Todo]) -> list[RunResult]:
    """Return the runs of results that are there already; [] unless they are these, whole, and all of them."""
    rows = read_summary_rows(target, whole)
    names = [run.spec.experiment.name for run in todo]
    if [row["experiment"] for row in rows] != names:
        return []

    def part(row: Mapping[str, Value], names: Iterable[str]) -> dict[str, Value]:
        return {name: row[name] for name in names if name in row}

    metrics = [metric.name for metric in METRICS]
    return [
        RunResult(part(row, IDENTITY), dict(run.spec.swept), part(row, metrics), part(row, FLAGS), config={})
        for row, run in zip(rows, todo, strict=True)
    ]


def _checked(
    runs_on: Here | Elsewhere, specs: Sequence[RunSpec], refused: list[InputError] | None
) -> list[Todo]:
    """Return the runs that can start. Errors: InputError (one that cannot, unless ``refused`` takes it)."""
    todo = []
    for spec, checked in zip(specs, runs_on.checks(specs), strict=True):
        if not isinstance(checked, InputError):
            todo.append(Todo(spec, checked.digest, checked.unknown))
        elif refused is None:
            raise checked
        else:
            refused.append(checked)
    if not todo and refused:
        raise refused[0]
    return todo


def _play(
    runs_on: Here | Elsewhere,
    runs: Sequence[Todo],
    store: Store,
    how: HowToRun,
    progress: Progress | None,
) -> list[Failure]:
    """Play what is not in the store yet; return the failures. Errors: InputError (the first failure)."""
    todo = [run for run in runs if store.get(run.digest) is None]
    done = len(runs) - len(todo)

    def share(place: int, per_mille: int) -> None:
        if progress is not None:
            progress.advance(done + place, len(runs), per_mille)

    failures = []
    for place, played in runs_on.executes([run.spec for run in todo], share):
        outcome = _unchanged(played, todo[place])
        if progress is not None:
            progress.ended(outcome if isinstance(outcome, Failure) else outcome[0])
        if isinstance(outcome, Failure):
            if not how.keep_going:
                raise RunError(outcome)
            failures.append(outcome)
        else:
            store.put(todo[place].digest, *outcome)
    return failures


def _unchanged(outcome: Played | Failure, run: Todo) -> Played | Failure:
    """Return how a run ended; it failed if what decides it is not what was checked."""
    if isinstance(outcome, Failure) or outcome[0].digest == run.digest:
        return outcome
    return Failure(
        run.spec.where, "a file that it reads was changed during the sweep; --resume plays it again"
    )


def _renumbered(row: RunResult, spec: RunSpec, target: Path) -> RunResult:
    """Return a run's row as this sweep calls it: its number, its swept keys, and what decides nothing."""
    row.identity |= {"run": spec.index, "experiment": spec.experiment.name}
    row.swept = dict(spec.swept)
    row.config = relative_to(resolved(spec), target)
    return row


def _fill_in(runs: Sequence[RunResult]) -> None:
    """Say what a run itself has where others of the sweep set a key: a system's own policy, say."""
    for key in dict.fromkeys(key for run in runs for key in run.swept):
        for run in runs:
            value: Any = run.config
            for part in key.split("."):
                value = value.get(part) if isinstance(value, dict) else None
            if key not in run.swept and value is not None:
                run.swept[key] = value.get("name", value) if isinstance(value, dict) else value


def _check_figures(where: str, figures: Sequence[str]) -> None:
    from simulator.plots import FIGURES

    for name in figures:
        if name not in FIGURES:
            raise InputError(f"{where}: figures", f"unknown figure ({name!r})", did_you_mean(name, FIGURES))


def _draw(folder: Path, figures: Sequence[str]) -> tuple[list[Path], list[str], list[Failure]]:
    """Draw figures; return their files, what to know of them, and those that failed: nothing else is lost."""
    if not figures:
        return [], [], []
    from simulator.plots import draw, lacking

    letters = lacking(folder)
    said = [f"no font here has these letters, boxes in the figures: {letters}"] if letters else []
    failed: list[Failure] = []

    def left_out(name: str, error: Exception) -> None:
        if isinstance(error, InputError):
            said.append(f"figure {name} is left out: {error.what}; {error.hint}")
        elif isinstance(error, OSError):
            raise error
        else:
            failed.append(failure(f"figure {name}", error))

    return draw(figures, folder, left_out=left_out), said, failed


def _tell_apart(runs: Sequence[RunResult]) -> None:
    """Name models, machines, ... as the experiment does where their own names do not differ."""
    for key in ("model", "hardware", "software", "trace"):
        said = [str(run.config.get(key) or run.identity[key]) for run in runs]
        names, given = short_names(said), defaultdict[Value, set[str]](set)
        for run, name in zip(runs, said, strict=True):
            given[run.identity[key]].add(name)
        for run, name in zip(runs, said, strict=True):
            if len(given[run.identity[key]]) > 1:
                run.identity[key] = names[name]
