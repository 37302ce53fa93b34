"""Systems: presets of policies and runtime settings, what an experiment lays over them, and its name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simulator.config.paths import key_of, shown
from simulator.config.yaml_file import load_yaml
from simulator.errors import InputError, did_you_mean
from simulator.experiment.schema import Experiment, Policies, Runtime, System


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


def with_system(data: dict[str, Any], where: str) -> dict[str, Any]:
    """Lay the experiment's own policies, runtime settings and precisions over those of its system."""
    name = data.get("system")
    if not isinstance(name, str):
        return data
    system = load_system(name, where)
    sections = {"policies": system.policies, "runtime": system.runtime, "precision": system.precision}
    for section, preset in sections.items():
        own = data.get(section, {})
        if isinstance(own, dict):
            data[section] = _laid_over(dict(preset), own)
    if data.get("software") is None and system.software is not None:
        data["software"] = system.software
    return data


def _laid_over(base: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in own.items():
        inner = base.get(key)
        both = isinstance(inner, dict) and isinstance(value, dict) and "name" not in value
        base[key] = _laid_over(dict(inner), value) if both and inner is not None else value
    return base


def system_label(experiment: Experiment) -> str:
    """Return what tables call an experiment's policies: its system, or without one its eviction policy.

    A preset is called modified where the experiment overrides a policy, or a setting that the preset makes.
    """
    if experiment.system is None:
        eviction = shown(experiment.policies.eviction, key_of("policies.eviction"))
        return eviction if isinstance(eviction, str) else str(eviction.get("name"))
    preset = load_system(experiment.system, "system")
    runtime = Runtime.model_validate(preset.runtime)
    same = experiment.policies == Policies.model_validate(preset.policies) and all(
        getattr(experiment.runtime, name) == getattr(runtime, name) for name in preset.runtime
    )
    return experiment.system + ("" if same else " (modified)")
