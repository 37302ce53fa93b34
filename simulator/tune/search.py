"""The search: trials drawn by Optuna from what the training sequences said of those before.

A search is a function of the experiment and its seed. What a run gave is kept under the hash of all that
decides it, so an interrupted search is resumed by making it again: it comes by the same trials.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from simulator.errors import InputError
from simulator.experiment.sweep import RunSpec
from simulator.results.store import Entries
from simulator.results.summary import RunResult
from simulator.runs.play import play, prepare
from simulator.tune.part import PartialLibrary
from simulator.tune.space import Values
from simulator.tune.subject import Subject


@dataclass(frozen=True, slots=True)
class Trial:
    """A combination of values, the metric on the training sequences, or why the experiment refused it."""

    number: int
    values: Values
    score: float | None
    refused: str = ""


class NoValueError(InputError):
    """A run has no number in the column that is tuned."""


def score(specs: Sequence[RunSpec], part: PartialLibrary, metric: str, memory: Entries) -> float:
    """Return the mean of a metric over runs on a part of their sequences.

    Errors: InputError (a run is refused, or the metric has no value there).
    """
    found = []
    for spec in specs:
        ready = prepare(spec, part)
        digest = _sha256(f"{ready.digest} {part.sequences(spec)}")
        metrics = memory.get(digest)
        if not isinstance(metrics, dict):
            metrics = play(ready, part)[0].metrics
            memory.put(digest, metrics)
        found.append(_number(metrics, metric, spec))
    return math.fsum(found) / len(found)


def played(specs: Sequence[RunSpec], part: PartialLibrary, metric: str) -> tuple[float, list[RunResult]]:
    """Return the same with the runs' results."""
    runs = [play(prepare(spec, part), part)[0] for spec in specs]
    found = [_number(run.metrics, metric, spec) for run, spec in zip(runs, specs, strict=True)]
    return math.fsum(found) / len(found), runs


def _number(metrics: Mapping[str, Any], metric: str, spec: RunSpec) -> float:
    value = metrics.get(metric)
    if not isinstance(value, (int, float)):
        raise NoValueError(spec.where, f"{metric} is no number here ({value})", "tune another column")
    return value


def search(subject: Subject, of: Callable[[Sequence[RunSpec]], float]) -> Iterator[Trial]:
    """Yield the trials: 0 is the experiment as it is, the others are drawn. ``of`` gives the score of runs.

    Errors: InputError (the experiment as it is cannot be played).
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    tune, space = subject.tune, subject.space
    distributions = space.distributions()
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=tune.seed),
        direction="maximize" if tune.maximise else "minimize",
    )
    first = Trial(0, subject.as_it_is(), of(subject.specs))
    if (drawn := space.drawn(first.values)) is not None:
        with suppress(ValueError):  # outside of what is searched: the sampler need not know it
            known = optuna.trial.create_trial(params=drawn, distributions=distributions, value=first.score)
            study.add_trial(known)
    yield first
    for number in range(1, tune.trials + 1):
        asked = study.ask(distributions)
        values = space.values(asked.params)
        try:
            trial = Trial(number, values, of(subject.runs(values)))
            study.tell(asked, trial.score)
        except InputError as error:
            trial = Trial(number, values, None, str(error))
            study.tell(asked, state=optuna.trial.TrialState.PRUNED)
        yield trial


def best_of(trials: Sequence[Trial], *, maximise: bool) -> Trial:
    """Return the best trial, of equal ones the first; at least one was not refused."""
    sign = -1 if maximise else 1
    return min((t for t in trials if t.score is not None), key=lambda t: sign * (t.score or 0.0))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
