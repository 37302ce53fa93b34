"""Executing a sweep's runs: here, one after another, in local processes, or on a Dask cluster."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from threading import Thread
from typing import Any, Literal, TypeVar
from uuid import uuid4

from simulator.assemble.library import Library
from simulator.errors import InputError
from simulator.experiment.sweep import RunSpec
from simulator.runs.faults import Failure, RunError, failure, is_failure
from simulator.runs.play import Played, play, prepare

T = TypeVar("T")
WATCH_S = 1
"""How often a worker looks whether its parent is there."""


@dataclass(frozen=True, slots=True)
class Backend:
    """Where runs are executed: ``jobs`` local processes, or the Dask cluster at ``scheduler``."""

    name: Literal["local", "dask"] = "local"
    jobs: int = 1
    scheduler: str | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """A run that can start: the hash of all that decides it, and what may decide it and cannot be known."""

    digest: str
    unknown: Sequence[str]


@cache
def library() -> Library:
    """Return this process's library: what it loads, it loads once for a sweep."""
    return Library()


def check(spec: RunSpec) -> Checked | InputError:
    """Return the hash of a run that can start, or what is wrong with it."""
    try:
        ready = prepare(spec, library())
    except InputError as error:
        return error
    except BaseException as error:
        if not is_failure(error):
            raise
        return RunError(failure(spec.where, error))
    return Checked(ready.digest, ready.unknown())


def execute(spec: RunSpec, share: Callable[[int], None] | None = None) -> Played | Failure:
    """Return a run's row and its tables, or what went wrong with it."""
    try:
        return play(prepare(spec, library()), library(), share)
    except BaseException as error:  # isolated here, and told at the end of the sweep
        if not is_failure(error):
            raise
        return failure(spec.where, error)


class Here:
    """Runs one after another in this process."""

    def checks(self, specs: Sequence[RunSpec]) -> Iterator[Checked | InputError]:
        """Check runs, in order."""
        return map(check, specs)

    def executes(
        self, specs: Sequence[RunSpec], share: Callable[[int, int], None]
    ) -> Iterator[tuple[int, Played | Failure]]:
        """Yield the place and the outcome of each run as it ends."""
        for i, spec in enumerate(specs):
            yield i, execute(spec, lambda done, i=i: share(i, done))  # type: ignore[misc]  # bound now


class Elsewhere:
    """Runs in other processes, by joblib; ``local`` ones are children of this one, and end with it."""

    def __init__(self, parallel: Callable[..., Any], *, local: bool) -> None:
        self.parallel = parallel
        self.sweep = Sweep(uuid4().hex, os.getpid() if local else None)

    def checks(self, specs: Sequence[RunSpec]) -> Iterator[Checked | InputError]:
        """Check runs, in order."""
        from joblib import delayed

        jobs = (delayed(_checked)(self.sweep, spec) for spec in specs)
        yield from _quietly(self.parallel(return_as="generator")(jobs))

    def executes(
        self, specs: Sequence[RunSpec], share: Callable[[int, int], None]
    ) -> Iterator[tuple[int, Played | Failure]]:
        """Yield the place and the outcome of each run as it ends."""
        from joblib import delayed

        jobs = (delayed(_execute_at)(self.sweep, i, spec) for i, spec in enumerate(specs))
        ended = _quietly(self.parallel(return_as="generator_unordered")(jobs))
        for done, (i, outcome) in enumerate(ended, start=1):
            share(done - 1, 1000)
            yield i, outcome


def _quietly(outcomes: Generator[T, None, None]) -> Iterator[T]:
    """Yield outcomes; where nobody wants the rest, stop without joblib's warning that they are lost."""
    try:
        for outcome in outcomes:  # noqa: UP028 - `yield from` would stop them with the warning
            yield outcome
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            outcomes.close()


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a worker must know of its sweep: which it is, and the process that it ends with."""

    name: str
    parent: int | None


def _checked(sweep: Sweep, spec: RunSpec) -> Checked | InputError:
    _work_for(sweep)
    return check(spec)


def _execute_at(sweep: Sweep, i: int, spec: RunSpec) -> tuple[int, Played | Failure]:
    _work_for(sweep)
    return i, execute(spec)


@lru_cache(maxsize=1)
def _work_for(sweep: Sweep) -> None:
    """Forget what was loaded for another sweep: files may have changed. Watch the parent."""
    library.cache_clear()
    if sweep.parent is not None:
        Thread(target=_end_with, args=(sweep.parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process soon after its parent, however that ended: nobody wants its results any more."""
    while os.getppid() == parent:
        time.sleep(WATCH_S)
    os._exit(1)


@contextmanager
def executor(backend: Backend, n_runs: int) -> Iterator[Here | Elsewhere]:
    """Give what executes runs. Errors: InputError (no such scheduler, or Dask is not installed)."""
    if backend.name == "local" and (backend.jobs == 1 or n_runs == 1):
        library.cache_clear()
        yield Here()
        return
    from joblib import Parallel, parallel_config

    if backend.name == "local":
        with parallel_config("loky", n_jobs=min(backend.jobs, n_runs), inner_max_num_threads=1):
            yield Elsewhere(Parallel, local=True)
        return
    with _client(backend.scheduler), parallel_config("dask"):
        yield Elsewhere(Parallel, local=False)


@contextmanager
def _client(scheduler: str | None) -> Iterator[None]:
    if scheduler is None:
        raise InputError("--scheduler", "missing", "the address of a Dask scheduler, such as tcp://host:8786")
    try:
        from distributed import Client
    except ImportError:
        raise InputError("--backend dask", "Dask is not installed", "pip install 'moesim[dask]'") from None
    try:
        client = Client(scheduler, timeout="10s")  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        reason = str(error).split("\n")[0]
        raise InputError("--scheduler", f"{scheduler} does not answer ({reason})") from None
    with client:
        yield
