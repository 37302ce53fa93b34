"""From a row to the runs that it is about: one, or for a ratio two."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from policies.registry import create
from simulator.config.faults import Path_
from simulator.config.yaml_file import Document
from simulator.errors import InputError
from simulator.experiment.sweep import RunSpec, expand, put
from simulator.machine.find import load_machine
from simulator.machine.software import load_software
from simulator.model.load import load_model
from simulator.trace.find import find_trace
from simulator.validate.rows.load import Sourced
from simulator.validate.rows.routing import draw_routing, find_routing
from simulator.validate.rows.schema import Settings

ROUTING = "routing"
NAMED: dict[str, Callable[[str], object]] = {
    "model": cache(load_model),
    "hardware": cache(load_machine),
    "software": cache(load_software),
    "trace": cache(find_trace),
}
"""Keys of an experiment that name a file or a part, and what finds it."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A row with its run, and of a ratio the run that it is over."""

    sourced: Sourced
    run: RunSpec
    over: RunSpec | None

    @property
    def runs(self) -> tuple[RunSpec, ...]:
        """Return the one or two runs."""
        return (self.run,) if self.over is None else (self.run, self.over)


class Planner:
    """Plans rows; the traces that stand in for routing are drawn into ``folder``, each once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.drawn: dict[Path, Path] = {}

    def plan(self, sourced: Sourced) -> Planned:
        """Return a row's runs. Errors: InputError (settings that are no experiment), at their line."""
        row = sourced.row
        at: Path_ = ("rows", sourced.index)
        run = self._run(sourced, row.set, (*at, "set"))
        over = self._run(sourced, row.over.set, (*at, "over", "set")) if row.over else None
        return Planned(sourced, run, over)

    def _run(self, sourced: Sourced, settings: Settings, at: Path_) -> RunSpec:
        document = sourced.document
        data: dict[str, Any] = {"name": sourced.row.id}
        lines: dict[Path_, int | str] = {}
        for given, place in ((sourced.file.common, ("common",)), (settings, at)):
            _replace_routing(data, given)
            for key, value in given.items():
                put(data, key, copy.deepcopy(value))
                _place(lines, document.lines, (*place, key), tuple(key.split(".")))
        if ROUTING in data:
            data["trace"] = str(self._trace(data.pop(ROUTING), document, lines))
        spec = expand(Document(document.path, data, lines))[0]
        _check_names(spec, document.path, lines)
        return spec

    def _trace(self, name: object, document: Document, lines: Mapping[Path_, int | str]) -> Path:
        where = f"{document.path}:{lines[(ROUTING,)]}: {ROUTING}"
        if not isinstance(name, str) or not name:
            raise InputError(where, f"{name!r}", "the name of a routing, or a path")
        try:
            path = find_routing(name, document.path.parent).resolve()
            if path not in self.drawn:
                folder = self.folder / str(len(self.drawn))  # two files may have one name
                folder.mkdir()
                self.drawn[path] = draw_routing(path, folder)
        except InputError as error:
            raise InputError(where, f"{error.where}: {error.what}", error.hint) from None
        return self.drawn[path]


def _check_names(spec: RunSpec, path: Path, lines: Mapping[Path_, int | str]) -> None:
    """Refuse a name that nothing has: a slip of the pen is no run that cannot be. Errors: InputError."""
    experiment = spec.experiment
    checks: dict[Path_, Callable[[], object]] = {}
    for key, known in NAMED.items():
        if (name := getattr(experiment, key)) and (key, name) != ("model", "trace"):
            checks[key,] = partial(known, name)
    for axis, policy in experiment.policies.model_dump(exclude_none=True).items():
        checks["policies", axis] = partial(create, axis.removeprefix("cpu_"), policy)
    for place, check in checks.items():
        try:
            check()
        except InputError as error:
            line = f":{lines[place]}" if place in lines else ""
            raise InputError(f"{path}{line}: {'.'.join(map(str, place))}", error.what, error.hint) from None


def _replace_routing(data: dict[str, Any], given: Settings) -> None:
    """Take away the trace where a routing is given, and the routing where a trace is."""
    for key, other in ((ROUTING, "trace"), ("trace", ROUTING)):
        if key in given:
            data.pop(other, None)


def _place(
    lines: dict[Path_, int | str], known: Mapping[Path_, int | str], there: Path_, here: Path_
) -> None:
    """Give a key of an experiment, and all below it, the lines that it has in its file."""
    for place in [place for place in lines if place[: len(here)] == here]:
        del lines[place]
    for place, line in known.items():
        if place[: len(there)] == there:
            lines[(*here, *place[len(there) :])] = line
