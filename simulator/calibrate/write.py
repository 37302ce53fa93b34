"""A profile as a YAML file that people read: one number a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from simulator.errors import InputError
from simulator.hardware import HardwareProfile


def check_new(path: Path) -> None:
    """Refuse a path that is taken, or cannot become a profile; said before minutes of measuring."""
    if path.suffix != ".yaml":
        raise InputError(str(path), "is no .yaml", "a profile is named as its file: my-machine.yaml")
    if path.exists():
        raise InputError(str(path), "exists; a calibration never overwrites", "name another file")
    if not path.absolute().parent.is_dir():
        raise InputError(str(path.parent), "no such folder", "make it first")


def write_profile(profile: HardwareProfile, path: Path) -> None:
    """Write a profile to a new file. Errors: FileExistsError."""
    data = profile.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    with path.open("x", encoding="utf-8") as file:
        file.write("\n".join(_lines(data, 0)) + "\n")


def _lines(data: dict[str, Any], depth: int) -> list[str]:
    lines = []
    for key, value in data.items():
        if isinstance(value, dict) and "source" not in value:
            lines += [f"{'  ' * depth}{key}:", *_lines(value, depth + 1)]
        else:
            lines.append(f"{'  ' * depth}{key}: {_flow(value)}")
    return lines


def _flow(value: Any) -> str:
    """Return a value on one line; text in quotes, which JSON and YAML share, but for plain quantities."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return json.dumps(value)
