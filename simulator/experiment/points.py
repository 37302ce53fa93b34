"""Which points a sweep visits: its grids, zipped keys and lists, less what is excluded."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from simulator.errors import InputError, did_you_mean
from simulator.experiment.schema import Sweep

NOT_SWEPT = dict.fromkeys(
    ("sweep", "tune", "name", "description", "figures", "extends"), "it is one for all runs"
) | dict.fromkeys(("seed", "seeds"), "list seeds in sweep.seeds")
MOST_RUNS = 100_000
Point = dict[str, Any]
"""Dotted keys of an experiment, each with its value in one run."""


def points(sweep: Sweep, where: str) -> list[Point]:
    """Return the points of a sweep in order: each grid, in it each entry of the list, then grid, then zip.

    Errors: InputError (a key that cannot be swept or comes twice, unequal lengths, an idle exclusion).
    """
    for name, values in _columns(sweep):
        _check_twice(f"{where}: sweep.{name}", values)
    _check_lengths(sweep.zip, where)
    if (n := _number(sweep)) > MOST_RUNS:
        raise InputError(f"{where}: sweep", f"{n:,} runs", f"at most {MOST_RUNS:,}")
    found = list(_visited(sweep))
    _check_keys(sweep, found, where)
    kept = _without_excluded(found, sweep.exclude, where)
    if not kept:
        raise InputError(f"{where}: sweep.exclude", "every run is excluded", "leave some")
    return kept


def first_point(sweep: object) -> Point:
    """Return the first point of a sweep that was not validated yet, as far as it can be made out."""
    if not isinstance(sweep, dict):
        return {}
    found: Point = {}
    for part in (sweep.get("grid"), *_first(sweep.get("grids")), sweep.get("zip")):
        if isinstance(part, dict):
            found |= {key: values[0] for key, values in part.items() if isinstance(values, list) and values}
    for entry in _first(sweep.get("list")):
        found |= entry if isinstance(entry, dict) else {}
    return {key: value for key, value in found.items() if isinstance(key, str)}


def _first(values: object) -> list[Any]:
    return values[:1] if isinstance(values, list) else []


def _visited(sweep: Sweep) -> Iterator[Point]:
    rows = [dict(zip(sweep.zip, row, strict=True)) for row in zip(*sweep.zip.values(), strict=True)] or [{}]
    for more in sweep.grids or ({},):
        grid = sweep.grid | more
        for entry in sweep.list or ({},):
            for values in itertools.product(*grid.values()):
                for row in rows:
                    yield entry | dict(zip(grid, values, strict=True)) | row


def _number(sweep: Sweep) -> int:
    """Return how many runs a sweep has before any is excluded."""
    grids = [sweep.grid | more for more in sweep.grids or ({},)]
    combinations = sum(math.prod(map(len, grid.values())) for grid in grids)
    rows = max(map(len, sweep.zip.values()), default=1)
    return combinations * max(1, len(sweep.list)) * rows * len(sweep.seeds)


def _columns(sweep: Sweep) -> Iterator[tuple[str, Sequence[Any]]]:
    """Iterate over lists in which nothing may come twice, by their names."""
    for grid in (sweep.grid, *sweep.grids):
        yield from ((f"grid.{key}", values) for key, values in grid.items())
    yield "zip", list(zip(*sweep.zip.values(), strict=False))
    yield "list", sweep.list
    yield "exclude", sweep.exclude
    yield "seeds", sweep.seeds


def _check_twice(place: str, values: Sequence[Any]) -> None:
    texts = [json.dumps(value, sort_keys=True, default=str) for value in values]
    twice = next((text for text, n in Counter(texts).items() if n > 1), None)
    if twice is not None:
        raise InputError(place, f"{twice} comes twice", "each value once")


def _check_lengths(zipped: Mapping[str, Sequence[Any]], where: str) -> None:
    lengths = {key: len(values) for key, values in zipped.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{key} {n}" for key, n in lengths.items())
        raise InputError(f"{where}: sweep.zip", f"lists of different lengths ({said})", "as many values each")


def _check_keys(sweep: Sweep, visited: Iterable[Point], where: str) -> None:
    """Refuse keys that are no setting of a run, that are swept twice, or that overwrite each other."""
    grids = [sweep.grid | more for more in sweep.grids or ({},)]
    parts = {"grid": set().union(*grids), "zip": set(sweep.zip), "list": set().union(*sweep.list)}
    for name, keys in parts.items():
        for key in sorted(keys):
            place = f"{where}: sweep.{name}.{key}"
            if (first := key.partition(".")[0]) in NOT_SWEPT:
                raise InputError(place, "cannot be swept", NOT_SWEPT[first])
            if other := next((o for o in parts if o != name and key in parts[o]), None):
                raise InputError(place, f"is in sweep.{other} too", "sweep it in one of them")
    for point in visited:
        for key in point:
            if inner := next((other for other in point if other.startswith(f"{key}.")), None):
                raise InputError(f"{where}: sweep: {key}", f"contains {inner}", "sweep one of them")


def _without_excluded(found: Sequence[Point], exclude: Sequence[Point], where: str) -> list[Point]:
    """Leave out the points that have every value of an exclusion."""
    swept = sorted(set().union(*found))
    for n, excluded in enumerate(exclude):
        place = f"{where}: sweep.exclude.{n}"
        for key in excluded:
            if key not in swept:
                hint = did_you_mean(key, swept) if swept else "there is no sweep to leave runs out of"
                raise InputError(place, f"{key} is not swept", hint)
        if not any(_matches(point, excluded) for point in found):
            raise InputError(place, "matches no run", "its values as the sweep has them")
    return [point for point in found if not any(_matches(point, excluded) for excluded in exclude)]


def _matches(point: Point, excluded: Point) -> bool:
    return all(key in point and point[key] == value for key, value in excluded.items())
