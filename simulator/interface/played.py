"""Playing experiments from Python: one run, or a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from simulator.errors import InputError
from simulator.interface.described import Experiment, Given, load_experiment
from simulator.interface.progress import Bar
from simulator.interface.results import Results
from simulator.runs.backends import Backend
from simulator.runs.experiment import HowToRun, run_experiment

Source = str | Path | Mapping[str, Any] | Experiment


def run(
    source: Source,
    changes: Mapping[str, Any] | None = None,
    policies: Mapping[str, Given] | None = None,
    *,
    out: str | Path | None = None,
    progress: bool = False,
) -> Results:
    """Play an experiment that is one run. See ``load_experiment`` and ``sweep``.

    Errors: InputError, also where the experiment has several runs.
    """
    experiment = load_experiment(source, changes, policies)
    if (n := len(experiment)) > 1:
        raise InputError(str(experiment.document.path), f"has {n} runs", "play them all with sweep()")
    return sweep(experiment, out=out, progress=progress)


def sweep(
    source: Source,
    changes: Mapping[str, Any] | None = None,
    policies: Mapping[str, Given] | None = None,
    *,
    out: str | Path | None = None,
    jobs: int = 0,
    resume: bool = False,
    keep_going: bool = False,
    force: bool = False,
    progress: bool = True,
) -> Results:
    """Play all runs of an experiment, ``jobs`` at a time (0: one for each core).

    Results are written to the folder ``out`` as ``moesim run`` does, with the experiment's figures. Without
    ``out`` they last as long as the object that is returned. An experiment whose policies are objects is
    played in this process. Errors: InputError; what failed under ``keep_going`` is in ``Results.failures``.
    """
    from joblib import cpu_count

    experiment = load_experiment(source, changes, policies)
    backend = Backend(jobs=1 if experiment.here else jobs or cpu_count())
    how = HowToRun(force=force, resume=resume, keep_going=keep_going, backend=backend)
    kept = None if out is not None else TemporaryDirectory(prefix="moesim-")
    folder = Path(out) if out is not None else Path(kept.name) / "results"  # type: ignore[union-attr]  # one of both
    sets = experiment.sets if out is not None else (*experiment.sets, "figures=[]")
    with Bar(shown=progress) as bar:
        done = run_experiment(experiment.document, sets, folder, how, bar)
    return Results(done.out, tuple(done.warnings), tuple(map(str, done.failures)), kept)
