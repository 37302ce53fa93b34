"""Sweeps: one experiment file becomes a list of runs, each fully resolved."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from simulator.config.paths import anchored, key_of, short_paths, shown
from simulator.config.yaml_file import Document, parse_yaml, validate_mapping
from simulator.errors import InputError
from simulator.experiment.extends import inherit
from simulator.experiment.points import NOT_SWEPT, first_point, points
from simulator.experiment.schema import Experiment, Sweep
from simulator.experiment.systems import with_system

UNDECIDED = {"sweep", "tune", "figures", "description", "name"}
"""What an experiment says that changes nothing about a run."""


EngineName = Literal["auto", "simpy"]
"""Who plays: the SimPy model (``engine/processes/``), or the fastest that can; no result differs."""


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One run of a sweep: its resolved experiment, its seed and the swept keys with their values.

    The experiment has paths, all absolute; ``swept`` has names of files.
    ``where`` is the file, and the place in its sweep, to blame for what is wrong with this run.
    ``engine`` plays it; it decides nothing about the results.
    """

    index: int
    experiment: Experiment
    seed: int
    swept: Mapping[str, Any]
    where: str
    engine: EngineName = "auto"

    def digest(self) -> str:
        """Return a hash of everything that the experiment file decides about this run, wherever files lie."""
        return hashlib.sha256(_text(shown(_decided(self)), self.seed).encode()).hexdigest()


def _decided(run: RunSpec) -> dict[str, Any]:
    return run.experiment.model_dump(mode="json", exclude=UNDECIDED)


def _text(decided: dict[str, Any], seed: int) -> str:
    return json.dumps([decided, seed], sort_keys=True)


def parse_set(text: str) -> tuple[str, Any]:
    """Split ``key.path=value``; the value is read as a file's is; paths are from the working folder."""
    key, equals, value = text.partition("=")
    if not equals or not all(key.split(".")):
        raise InputError(
            f"--set {text}", "not of the form key=value", "such as memory.gpu_expert_cache='12 GiB'"
        )
    try:
        return key, anchored(parse_yaml(value, ""), Path(), key_of(key))
    except InputError as error:
        hint = error.hint or "put quotes around it, or a space after ':'"
        raise InputError(f"--set {key}", f"{error.what}: {value[:60]!r}", hint) from None


def put(data: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key; what is in the way and no mapping is replaced by one."""
    *path, last = key.split(".")
    for part in path:
        inner = data.get(part)
        if not isinstance(inner, dict):
            inner = data[part] = {}
        data = inner
    data[last] = value


def expand(
    document: Document, sets: Sequence[str] = (), refused: list[InputError] | None = None
) -> list[RunSpec]:
    """Return the runs of an experiment: the points of its sweep, each with every seed.

    Every run is validated before any of them starts. Errors: InputError; those of single runs go to
    ``refused`` where it is given, and these runs are left out.
    """
    document = inherit(document)
    data = copy.deepcopy(document.data)
    given = dict(parse_set(text) for text in sets)
    for key, value in given.items():
        if key.partition(".")[0] == "extends":
            raise InputError(f"--set {key}", "cannot be set", "run the other experiment")
        put(data, key, value)
    lines = _unchanged(document.lines, given)
    where = str(document.path)
    sweep = _sweep(data, where, lines, given, lenient=refused is not None)
    visited = points(sweep, where)
    _check_set(given, {key for point in visited for key in point})
    lines = _unchanged(lines, {key for point in visited for key in point})
    short = short_paths(visited, visited, key_of("sweep.list"))
    runs: list[RunSpec] = []
    for n, point in enumerate(visited):
        swept = short[n]
        place = where + (f" (sweep: {', '.join(f'{k}={v}' for k, v in swept.items())})" if point else "")
        try:
            experiment = _validated(_at(data, point), place, lines, given)
        except InputError as error:
            if refused is None:
                raise
            refused.append(error)
            continue
        first = n * len(sweep.seeds)
        runs += [RunSpec(first + i, experiment, s, swept, place) for i, s in enumerate(sweep.seeds)]
    if not runs and refused:
        raise refused[0]
    _check_same(runs)
    return runs


def _sweep(
    data: dict[str, Any],
    where: str,
    lines: Mapping[Any, int | str],
    given: Iterable[str],
    *,
    lenient: bool,
) -> Sweep:
    """Return an experiment's sweep, validated with its first point; ``lenient`` lets that one be wrong."""
    swept = first_point(data.get("sweep"))
    first = {key: value for key, value in swept.items() if key.partition(".")[0] not in NOT_SWEPT}
    try:  # filled in, so that a file may leave what it sweeps to its sweep
        return _validated(_at(data, first), where, _unchanged(lines, swept), given, swept).sweep
    except InputError as error:
        try:
            if lenient:
                return Sweep.model_validate(data["sweep"])
        except (KeyError, ValidationError):
            pass
        raise error from None


def _at(data: Mapping[str, Any], point: Mapping[str, Any]) -> dict[str, Any]:
    """Return an experiment at a point of its sweep."""
    one = dict(copy.deepcopy(data))
    for key, value in point.items():
        put(one, key, copy.deepcopy(value))
    return one


def _check_same(runs: Iterable[RunSpec]) -> None:
    """Refuse two runs that would be the same: values differ in writing only, or two grids share them."""
    seen: dict[str, RunSpec] = {}
    for run in runs:
        first = seen.setdefault(_text(_decided(run), run.seed), run)
        if first is not run:
            raise InputError(run.where, f"is the same as run {first.index}", "each run once")


def _validated(
    data: dict[str, Any],
    where: str,
    lines: Mapping[Any, int | str],
    given: Iterable[str],
    swept: Iterable[str] = (),
) -> Experiment:
    """Return the experiment over its system; faults name --set or the sweep where they came in."""
    try:
        return validate_mapping(with_system(data, where), Experiment, where, lines)
    except InputError as error:
        key = error.where.removeprefix(f"{where}: ")
        if _is_under(key, given):
            raise InputError(f"--set {key}", error.what, error.hint) from None
        if _is_under(key, swept):
            raise InputError(f"{where}: sweep: {key}", error.what, error.hint) from None
        raise


def _check_set(given: Iterable[str], swept: Iterable[str]) -> None:
    """Refuse to set what the sweep sets again."""
    for key in given:
        for other in sorted(swept):
            if _is_under(key, [other]) or _is_under(other, [key]):
                raise InputError(f"--set {key}", f"the sweep sets {other}", "set sweep={} too, or sweep.grid")


def _is_under(key: str, keys: Iterable[str]) -> bool:
    return any(key == other or key.startswith(f"{other}.") for other in keys)


def _unchanged(lines: Mapping[Any, int | str], keys: Iterable[str]) -> dict[Any, int | str]:
    """Return the lines of what no key has replaced."""
    paths = [tuple(key.split(".")) for key in keys]
    return {at: n for at, n in lines.items() if all(at[: len(path)] != path for path in paths)}
