"""Tuning: searches on the training sequences, tries the best on the held-out ones, writes what it found."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from simulator import __version__
from simulator.assemble.library import Library
from simulator.config.paths import shown
from simulator.config.yaml_file import find_named, read_yaml
from simulator.errors import InputError
from simulator.experiment.sweep import RunSpec
from simulator.results.folder import check_output, fresh_folder
from simulator.results.manifest import provenance
from simulator.results.store import Entries, open_store
from simulator.runs.play import prepare
from simulator.tune.findings import Findings, Pair
from simulator.tune.part import PartialLibrary, sequences, split
from simulator.tune.report import write_findings
from simulator.tune.search import NoValueError, Trial, best_of, played, score, search
from simulator.tune.subject import Subject, read_subject

Progress = Callable[[int, int, Trial], None]
"""Called with (trials done, trials, the best of them)."""


@dataclass(frozen=True, slots=True)
class HowToTune:
    """What a user decides about a search that does not change what it finds."""

    force: bool = False
    resume: bool = False
    command: Sequence[str] = ()


def tune_experiment(
    path: str,
    sets: Sequence[str],
    out: Path | None,
    how: HowToTune | None = None,
    progress: Progress | None = None,
) -> tuple[Findings, Path]:
    """Search the settings that an experiment's section ``tune`` names; return what was found, and where.

    Errors: InputError, before anything is written. An interrupted search leaves what it played (see
    ``simulator.results.store``).
    """
    how = how or HowToTune()
    started = datetime.now(UTC)
    if find_spec("optuna") is None:
        raise InputError("moesim tune", "Optuna is not installed", "pip install 'moesim[tune]'")
    subject = read_subject(read_yaml(find_named("experiments", path)), sets)
    target = out or Path("results") / f"{subject.name}-tune"
    library = Library()
    for spec in subject.specs:
        if len(sequences(library, spec)) < 2:
            raise InputError(spec.where, "has one sequence", "a search needs others to hold out: two or more")
    parts = Parts(library, subject.tune.held_out)
    digest = _digest(subject, parts.training)
    check_output(target, digest, force=how.force)
    with open_store(target, resume=how.resume, force=how.force) as store:
        check_output(target, digest, force=how.force)
        try:
            findings = _find(subject, parts, store.entries, progress)
        except InputError:
            if not how.resume:  # what was refused is not to be resumed
                store.entries.remove()
            raise
        with fresh_folder(target, store.folder) as folder:
            manifest = provenance(digest, findings.runs, how.command, started)
            write_findings(folder, target, findings, manifest)
    return findings, target


class Parts:
    """The training, the held-out and all sequences."""

    def __init__(self, library: Library, held_out: float) -> None:
        self.library = library
        self.training = PartialLibrary(library, lambda n: split(n, held_out)[0])
        self.held_out = PartialLibrary(library, lambda n: split(n, held_out)[1])
        self.all = PartialLibrary(library, range)

    def n_training(self, specs: Sequence[RunSpec]) -> int:
        """Return how many sequences are searched on, of all traces."""
        return sum(len(self.training.sequences(spec)) for spec in _by_trace(specs).values())

    def alone(self, specs: Sequence[RunSpec]) -> Iterator[tuple[str, int, list[RunSpec], PartialLibrary]]:
        """Yield trace, number, runs and part of each held-out sequence on its own."""
        for trace, first in _by_trace(specs).items():
            of_trace = [spec for spec in specs if spec.experiment.trace == trace]
            replayed = sequences(self.library, first)
            for number in self.held_out.sequences(first):
                place = replayed.index(number)
                yield trace, number, of_trace, PartialLibrary(self.library, lambda _, place=place: [place])  # type: ignore[misc]


def _by_trace(specs: Sequence[RunSpec]) -> dict[str, RunSpec]:
    """Return the first run on each trace."""
    return {spec.experiment.trace: spec for spec in reversed(specs)}


def _find(subject: Subject, parts: Parts, memory: Entries, progress: Progress | None) -> Findings:
    """Search, and play the experiment as it is and at its best on the other sequences."""
    metric, maximise = subject.tune.metric, subject.tune.maximise is not None

    def on(part: PartialLibrary, specs: Sequence[RunSpec]) -> float:
        return score(specs, part, metric, memory)

    before_all = on(parts.all, subject.specs)
    trials: list[Trial] = []
    for trial in search(subject, partial(on, parts.training)):
        trials.append(trial)
        if progress is not None:
            progress(len(trials), subject.tune.trials + 1, best_of(trials, maximise=maximise))
    best = best_of(trials, maximise=maximise)
    if (refused := [trial.refused for trial in trials if trial.refused]) and len(refused) == len(trials) - 1:
        raise InputError(
            f"{subject.document.path}: tune.parameters", "every combination was refused", refused[0]
        )
    specs = subject.runs(best.values) if best.number else subject.specs
    reached, runs = played(specs, parts.all, metric)
    alone = []
    for (trace, number, before, part), (_, _, after, _) in zip(
        parts.alone(subject.specs), parts.alone(specs), strict=True
    ):
        try:
            pair = Pair(on(part, before), on(part, after))
        except NoValueError:
            pair = None
        alone.append((shown(trace, ("trace",)), number, pair))
    return Findings(
        subject=subject,
        trials=trials,
        best=best,
        held_out=Pair(on(parts.held_out, subject.specs), on(parts.held_out, specs)),
        training=Pair(trials[0].score or 0.0, best.score or 0.0),
        all=Pair(before_all, reached),
        alone=alone,
        n_training=parts.n_training(subject.specs),
        runs=runs,
    )


def _digest(subject: Subject, part: PartialLibrary) -> str:
    """Return a hash of everything that decides what a search finds."""
    runs = [prepare(spec, part).digest for spec in subject.specs]
    decided = [__version__, shown(subject.tune.model_dump(mode="json"), ("tune",)), runs]
    return hashlib.sha256(json.dumps(decided, sort_keys=True).encode()).hexdigest()
