"""What differs between the resolved configurations of runs, swept keys first."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from simulator.report.folder import Config

ABSENT = "(absent)"


@dataclass(frozen=True, slots=True)
class Difference:
    """A key that is not the same in all runs: its values, each with how many runs have it."""

    key: str
    swept: bool
    values: list[tuple[str, int]]


def differences(configs: list[Config], swept: Iterable[str]) -> list[Difference]:
    """Return the keys that differ; ``swept`` are those that the sweep set, or began with."""
    keys = dict.fromkeys(key for config in configs for key in config.values if key != "run")
    set_by_sweep = tuple(swept)
    found = []
    for key in keys:
        counts = Counter(_text(config.values[key]) if key in config.values else ABSENT for config in configs)
        if len(counts) > 1:
            by_sweep = any(f"{key}.".startswith(f"{name}.") for name in set_by_sweep)
            found.append(Difference(key, by_sweep, list(counts.items())))
    return sorted(found, key=lambda difference: not difference.swept)


def _text(value: object) -> str:
    """Return a value much as YAML writes it on one line."""
    if isinstance(value, dict) and "name" in value:
        parameters = {key: parameter for key, parameter in value.items() if key != "name"}
        return f"{value['name']} {_text(parameters)}" if parameters else str(value["name"])
    return value if isinstance(value, str) else json.dumps(value, default=str).replace('"', "")
