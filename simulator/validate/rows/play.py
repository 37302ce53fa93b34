"""Playing what rows are about: each different run once, and what was measured before is not played again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from simulator.errors import InputError
from simulator.experiment.sweep import RunSpec
from simulator.results.store import Entries
from simulator.runs.backends import Backend, Checked, executor
from simulator.runs.experiment import Progress
from simulator.runs.faults import Failure, RunError
from simulator.runs.play import Played
from simulator.validate.rows.plan import Planned
from simulator.validate.rows.quantities import Measures, measure

JOBS = 2
RunKey = tuple[str, int]
"""A run, by the hash of its experiment, and how many of its decoding passes are left out."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run measured, with the entry that keeps it; or why it was refused."""

    measures: Measures
    entry: str = ""
    refused: str = ""


@dataclass(slots=True)
class _Wanted:
    """A run, and how many passes are left out: once for each row's wish."""

    spec: RunSpec
    warm: set[int]


def key_of(run: RunSpec, warm: int) -> RunKey:
    """Return what rows have in common that are about the same passes of the same run."""
    return run.digest(), warm


def play_rows(
    planned: Iterable[Planned], kept: Entries, progress: Progress | None = None
) -> dict[RunKey, Outcome]:
    """Play the runs of rows, on two processes, and return how each ended.

    ``kept`` has what was measured before, and comes to have all of it. Errors: RunError (a fault of ours).
    """
    wanted: dict[str, _Wanted] = {}
    for one in planned:
        for spec in one.runs:
            wanted.setdefault(spec.digest(), _Wanted(spec, set())).warm.add(one.sourced.row.warm)
    with executor(Backend(jobs=JOBS), len(wanted)) as runs_on:
        found: dict[RunKey, Outcome] = {}
        for run, checked in zip(
            wanted.values(), runs_on.checks([r.spec for r in wanted.values()]), strict=True
        ):
            found |= {key_of(run.spec, w): o for w in run.warm if (o := _known(run.spec, checked, w, kept))}
        todo = [r for r in wanted.values() if any(key_of(r.spec, w) not in found for w in r.warm)]
        done = len(wanted) - len(todo)

        def share(place: int, per_mille: int) -> None:
            if progress is not None:
                progress.advance(done + place, len(wanted), per_mille)

        for place, played in runs_on.executes([run.spec for run in todo], share):
            if progress is not None:
                progress.ended(played if isinstance(played, Failure) else played[0])
            run = todo[place]
            found |= {key_of(run.spec, warm): _kept(played, warm, kept) for warm in run.warm}
    return found


def _known(run: RunSpec, checked: Checked | InputError, warm: int, kept: Entries) -> Outcome | None:
    """Return how a run ended that need not be played, or cannot. Errors: RunError (a fault of ours)."""
    if isinstance(checked, InputError):
        if isinstance(checked, RunError) and checked.failure.ours:
            raise checked
        return Outcome({}, refused=str(checked).removeprefix(f"{run.where}: "))
    entry = _entry(checked.digest, warm)
    measures = kept.get(entry)
    return None if measures is None else Outcome(measures, entry)


def _kept(played: Played | Failure, warm: int, kept: Entries) -> Outcome:
    """Keep what a run measured. Errors: RunError (a fault of ours)."""
    if isinstance(played, Failure):
        if played.ours:
            raise RunError(played)
        return Outcome({}, refused=played.cause)
    result, tables = played
    measures = measure(tables["tokens"], result.metrics, warm)
    entry = _entry(result.digest, warm)
    kept.put(entry, measures)
    return Outcome(measures, entry)


def _entry(digest: str, warm: int) -> str:
    return hashlib.sha256(f"{digest} {warm}".encode()).hexdigest()
