"""Sweeps: one experiment file becomes a list of runs, each fully resolved."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from simulator.config.experiment import Experiment
from simulator.config.yaml_file import Document, validate_mapping
from simulator.errors import InputError
from simulator.systems import with_system

NOT_SWEPT = ("sweep", "name", "description", "figures")


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One run of a sweep: its resolved experiment, its seed and the swept keys with their values.

    ``where`` is the file, and the place in its sweep, to blame for what is wrong with this run.
    """

    index: int
    experiment: Experiment
    seed: int
    swept: Mapping[str, Any]
    where: str

    def digest(self) -> str:
        """Return a hash of everything that the experiment file decides about this run."""
        decided = self.experiment.model_dump(mode="json", exclude={"sweep", "figures", "description", "name"})
        text = json.dumps([decided, self.seed], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def parse_set(text: str) -> tuple[str, Any]:
    """Split ``key.path=value``; the value is read as YAML."""
    key, equals, value = text.partition("=")
    if not equals or not all(key.split(".")):
        raise InputError(
            f"--set {text}", "not of the form key=value", "such as memory.gpu_expert_cache='12 GiB'"
        )
    try:
        return key, yaml.safe_load(value)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise InputError(
            f"--set {key}", f"value is not YAML: {value[:60]!r}", "put quotes around it, or a space after ':'"
        ) from None


def put(data: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key; what is in the way and no mapping is replaced by one."""
    *path, last = key.split(".")
    for part in path:
        inner = data.get(part)
        if not isinstance(inner, dict):
            inner = data[part] = {}
        data = inner
    data[last] = value


def expand(document: Document, sets: Sequence[str] = ()) -> list[RunSpec]:
    """Return the runs of an experiment: all combinations of its grid (or grids), each with every seed.

    Every run is validated before any of them starts.
    """
    data = copy.deepcopy(document.data)
    given = dict(parse_set(text) for text in sets)
    for key, value in given.items():
        put(data, key, value)
    lines = _unchanged(document.lines, given)
    where = str(document.path)
    first, grid = _without_placeholders(data)
    sweep = _validated(first, where, lines, given, [key for key in grid if isinstance(key, str)]).sweep
    grids = [{**sweep.grid, **more} for more in sweep.grids or ({},)]
    for one_grid in grids:
        _check_grid(one_grid, where)
    _check_twice(f"{where}: sweep.seeds", sweep.seeds)
    lines = _unchanged(lines, [key for one_grid in grids for key in one_grid])
    runs: list[RunSpec] = []
    for swept in itertools.chain.from_iterable(map(_combinations, grids)):
        one = copy.deepcopy(data)
        for key, value in swept.items():
            put(one, key, copy.deepcopy(value))
        place = where + (f" (sweep: {', '.join(f'{k}={v}' for k, v in swept.items())})" if swept else "")
        experiment = _validated(one, place, lines, given)
        runs += [RunSpec(len(runs) + i, experiment, s, swept, place) for i, s in enumerate(sweep.seeds)]
    return runs


def _combinations(grid: Mapping[str, Sequence[Any]]) -> Iterable[dict[str, Any]]:
    return (dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values()))


def _validated(
    data: dict[str, Any],
    where: str,
    lines: Mapping[Any, int],
    given: Iterable[str],
    swept: Iterable[str] = (),
) -> Experiment:
    """Return the experiment over its system; faults name --set or the grid where they came in."""
    try:
        return validate_mapping(with_system(data, where), Experiment, where, lines)
    except InputError as error:
        key = error.where.removeprefix(f"{where}: ")
        if _is_under(key, given):
            raise InputError(f"--set {key}", error.what, error.hint) from None
        if _is_under(key, swept):
            raise InputError(f"{where}: sweep.grid: {key}", error.what, error.hint) from None
        raise


def _is_under(key: str, keys: Iterable[str]) -> bool:
    return any(key == other or key.startswith(f"{other}.") for other in keys)


def _unchanged(lines: Mapping[Any, int], keys: Iterable[str]) -> dict[Any, int]:
    """Return the lines of what no key has replaced."""
    paths = [tuple(key.split(".")) for key in keys]
    return {at: n for at, n in lines.items() if all(at[: len(path)] != path for path in paths)}


def _check_grid(grid: Mapping[str, Sequence[Any]], where: str) -> None:
    """Refuse keys that are no setting of a run, or that overwrite each other, and values that come twice."""
    for key, values in grid.items():
        place = f"{where}: sweep.grid.{key}"
        if key.partition(".")[0] in NOT_SWEPT:
            raise InputError(place, "cannot be swept", "it is one for all runs")
        if inner := [other for other in grid if other.startswith(f"{key}.")]:
            raise InputError(place, f"contains {inner[0]}", "sweep one of them")
        _check_twice(place, values)


def _check_twice(place: str, values: Sequence[Any]) -> None:
    texts = [json.dumps(value, sort_keys=True, default=str) for value in values]
    if twice := [text for text in texts if texts.count(text) > 1]:
        raise InputError(place, f"{twice[0]} comes twice", "each value once")


def _without_placeholders(data: dict[str, Any]) -> tuple[dict[str, Any], dict[Any, Any]]:
    """Return the data with swept keys filled in, so that a file may leave them to its grid; and the grid."""
    sweep = data.get("sweep")
    grid = sweep.get("grid", {}) if isinstance(sweep, dict) else {}
    filled = copy.deepcopy(data)
    grids = sweep.get("grids") if isinstance(sweep, dict) else None
    if isinstance(grid, dict) and isinstance(grids, list) and grids and isinstance(grids[0], dict):
        grid = grid | grids[0]
    if not isinstance(grid, dict):
        return filled, {}
    for key, values in grid.items():
        if key in ("seed", "seeds"):
            raise InputError(
                f"sweep.grid.{key}", "seeds are not part of the grid", "list them in sweep.seeds"
            )
        if isinstance(key, str) and isinstance(values, list) and values:
            put(filled, key, values[0])
    return filled, grid
