"""Sweeps: one experiment file becomes a list of runs, each fully resolved."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from simulator.config.experiment import Experiment, System
from simulator.config.yaml_file import Document, load_yaml, validate_mapping
from simulator.errors import InputError, did_you_mean


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One run of a sweep: its resolved experiment, its seed and the swept keys with their values."""

    index: int
    experiment: Experiment
    seed: int
    swept: Mapping[str, Any]

    def digest(self) -> str:
        """Return a hash of everything that the experiment file decides about this run."""
        decided = self.experiment.model_dump(mode="json", exclude={"sweep", "figures", "description", "name"})
        text = json.dumps([decided, self.seed], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def parse_set(text: str) -> tuple[str, Any]:
    """Split ``key.path=value``; the value is read as YAML."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise InputError(
            f"--set {text}", "not of the form key=value", "such as memory.gpu_expert_cache='12 GiB'"
        )
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError:
        raise InputError(f"--set {key}", f"value is not YAML: {value!r}") from None


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
    """Return the runs of an experiment: all combinations of its grid, each with every seed.

    Every run is validated before any of them starts.
    """
    data = copy.deepcopy(document.data)
    for text in sets:
        put(data, *parse_set(text))
    where = str(document.path)
    sweep = validate_mapping(_without_placeholders(data), Experiment, where, document.lines).sweep
    runs: list[RunSpec] = []
    keys = list(sweep.grid)
    for values in itertools.product(*sweep.grid.values()):
        swept = dict(zip(keys, values, strict=True))
        for seed in sweep.seeds:
            one = copy.deepcopy(data)
            for key, value in swept.items():
                put(one, key, copy.deepcopy(value))
            place = where + (f" (sweep: {', '.join(f'{k}={v}' for k, v in swept.items())})" if swept else "")
            experiment = validate_mapping(_with_system(one, place), Experiment, place, document.lines)
            runs.append(RunSpec(len(runs), experiment, seed, swept))
    return runs


def _without_placeholders(data: dict[str, Any]) -> dict[str, Any]:
    """Return the data with swept top-level keys filled in, so that a file may leave them to its grid."""
    sweep = data.get("sweep")
    grid = sweep.get("grid") if isinstance(sweep, dict) else None
    filled = copy.deepcopy(data)
    if isinstance(grid, dict):
        for key, values in grid.items():
            if isinstance(key, str) and isinstance(values, list) and values:
                put(filled, key, values[0])
    return filled


def systems_folder() -> Path:
    """Return the folder of presets."""
    import policies

    return Path(next(iter(policies.__path__))) / "systems"


def system_names() -> list[str]:
    """Return the names of the presets, sorted."""
    return sorted(path.stem for path in systems_folder().glob("*.yaml"))


def load_system(name: str, where: str) -> System:
    """Return a preset by name."""
    if name not in system_names():
        raise InputError(f"{where}: system", f"unknown system ({name!r})", did_you_mean(name, system_names()))
    return load_yaml(systems_folder() / f"{name}.yaml", System)


def _with_system(data: dict[str, Any], where: str) -> dict[str, Any]:
    """Lay the experiment's own policies and runtime settings over those of its system."""
    name = data.get("system")
    if not isinstance(name, str):
        return data
    system = load_system(name, where)
    for section, preset in (("policies", system.policies), ("runtime", system.runtime)):
        own = data.get(section)
        if own is None or isinstance(own, dict):
            data[section] = _laid_over(dict(preset), own or {})
    return data


def _laid_over(base: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in own.items():
        inner = base.get(key)
        both = isinstance(inner, dict) and isinstance(value, dict) and "name" not in value
        base[key] = _laid_over(dict(inner), value) if both and inner is not None else value
    return base
