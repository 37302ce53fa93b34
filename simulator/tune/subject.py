"""The subject of a search: an experiment whose settings can be set, and its runs with them."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from policies.registry import AXES, defaults
from simulator.config.yaml_file import Document
from simulator.errors import InputError, did_you_mean
from simulator.experiment.extends import inherit
from simulator.experiment.points import NOT_SWEPT
from simulator.experiment.sweep import RunSpec, expand, parse_set, put
from simulator.experiment.tune import Tune
from simulator.results.metrics import METRICS
from simulator.tune.space import Space, Values

FIXED = ("trace", "training_trace", "training_share", "workload.max_sequences")


@dataclass(frozen=True, slots=True)
class Subject:
    """An experiment with its section ``tune``; ``specs`` are its runs as it is."""

    document: Document
    tune: Tune
    specs: list[RunSpec]
    space: Space

    @property
    def name(self) -> str:
        """Return the experiment's name."""
        return self.specs[0].experiment.name

    def runs(self, values: Mapping[str, Any]) -> list[RunSpec]:
        """Return the runs with other values. Errors: InputError (a value that is not allowed)."""
        return expand(replace(self.document, data=self.data(values), lines={}))

    def data(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the experiment with other values, as plain data."""
        data = copy.deepcopy(self.document.data)
        for key, value in values.items():
            put(data, key, copy.deepcopy(value))
        return data

    def as_it_is(self) -> Values:
        """Return the present values of what is searched, where file, system, schema or policy say them."""
        resolved = self.specs[0].experiment.model_dump(mode="json")
        named = [(axis, spec) for axis, spec in resolved["policies"].items() if axis in AXES and spec]
        known = {
            f"policies.{axis}.{name}": value
            for axis, spec in named
            for name, value in defaults(axis, spec).items()
        }
        there = {
            key: _at(self.document.data, key, _at(resolved, key, known.get(key)))
            for key in self.space.settings
        }
        return {key: value for key, value in there.items() if value is not None}


def read_subject(document: Document, sets: Sequence[str]) -> Subject:
    """Return what is to be tuned. Errors: InputError (no section ``tune``, or one that makes no sense)."""
    where, document = str(document.path), inherit(document)
    specs = expand(document, sets)
    tune = specs[0].experiment.tune
    if tune is None:
        raise InputError(where, "has no section tune", "it names parameters, and maximise or minimise")
    data = copy.deepcopy(document.data)
    for text in sets:
        put(data, *parse_set(text))
    space = Space(tune.parameters)
    place = f"{where}: tune.parameters"
    _check_settings(space, specs, place)
    _spell_out_policies(data, space, specs, place)
    _check_metric(tune, where)
    for key, one in (
        ("workload.max_sequences", {spec.experiment.workload.max_sequences for spec in specs}),
        ("training_share", {spec.experiment.training_share for spec in specs}),
    ):
        if len(one) > 1:
            raise InputError(where, f"the sweep sets {key}", "a search holds out of the same sequences")
    subject = Subject(replace(document, data=data), tune, specs, space)
    for key, values in space.extremes():
        try:
            subject.runs(values)
        except InputError as error:
            raise InputError(f"{place}.{key}", error.what, error.hint) from None
    return subject


def _check_settings(space: Space, specs: Sequence[RunSpec], place: str) -> None:
    """Refuse settings that are none of a run's, that overwrite each other, or that the sweep sets."""
    swept = {key for spec in specs for key in spec.swept}
    for setting, key in space.settings.items():
        for other in (*FIXED, *NOT_SWEPT):
            if _overlap(setting, other):
                raise InputError(f"{place}.{key}", "cannot be searched", f"{other} is one for all trials")
        for other in sorted(swept):
            if _overlap(setting, other):
                raise InputError(f"{place}.{key}", f"the sweep sets {other}", "sweep or search it, not both")
        for other in space.settings:
            if other != setting and _overlap(setting, other):
                raise InputError(f"{place}.{key}", f"overlaps with {other}", "search one of them")


def _overlap(one: str, other: str) -> bool:
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _spell_out_policies(data: dict[str, Any], space: Space, specs: Sequence[RunSpec], place: str) -> None:
    """Write a policy whose parameters are searched as a mapping, whether file or system named it."""
    for key in space.settings:
        section, _, rest = key.partition(".")
        axis, dot, _ = rest.partition(".")
        if section != "policies" or not dot or axis not in type(specs[0].experiment.policies).model_fields:
            continue
        named = [getattr(spec.experiment.policies, axis) for spec in specs]
        if any(other != named[0] for other in named):
            raise InputError(f"{place}.{key}", "the runs of the sweep have different policies there")
        put(data, f"policies.{axis}", dict(named[0]) if isinstance(named[0], dict) else {"name": named[0]})


def _check_metric(tune: Tune, where: str) -> None:
    names = [metric.name for metric in METRICS]
    if tune.metric not in names:
        aim = "minimise" if tune.minimise else "maximise"
        hint = did_you_mean(tune.metric, names)
        raise InputError(f"{where}: tune.{aim}", f"no column of summary.csv ({tune.metric!r})", hint)


def _at(data: Any, key: str, otherwise: Any = None) -> Any:
    """Return what is at a dotted key, or ``otherwise``."""
    for part in key.split("."):
        if not isinstance(data, dict) or data.get(part) is None:
            return otherwise
        data = data[part]
    return data
