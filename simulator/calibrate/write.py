"""A profile as a YAML file that people read: one number a line."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from simulator.errors import InputError
from simulator.files import check_target
from simulator.machine.hardware import HardwareProfile
from simulator.machine.software import SoftwareProfile
from simulator.plots.save import write


def check_new(path: Path, *, force: bool = False) -> None:
    """Refuse a path that is taken, or cannot become a profile; said before minutes of measuring."""
    if path.suffix != ".yaml":
        raise InputError(str(path), "is no .yaml", "a profile is named as its file: my-machine.yaml")
    check_target(path, force=force)
    folder = path.absolute().parent
    if not folder.is_dir():
        raise InputError(str(path.parent), "no such folder", "make it first")
    try:
        TemporaryFile(dir=folder).close()
    except OSError as error:
        raise InputError(str(path.parent), f"cannot be written: {error.strerror}") from None


def write_profile(profile: HardwareProfile | SoftwareProfile, path: Path, *, force: bool = False) -> None:
    """Write a profile, whole or not at all. Errors: InputError (taken meanwhile, cannot be written)."""
    data = profile.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    text = "\n".join(_lines(data, 0)) + "\n"
    check_target(path, force=force)  # minutes have gone by
    write(path.parent, {path.name: text.encode()})


def _lines(data: dict[str, Any], depth: int) -> list[str]:
    lines = []
    for key, value in data.items():
        indent = "  " * depth
        if isinstance(value, dict) and "source" not in value:
            lines += [f"{indent}{key}:", *_lines(value, depth + 1)]
        elif isinstance(value, str) and "\n" in value:
            lines += [f"{indent}{key}: |-", *(f"{indent}  {line}" for line in value.split("\n"))]
        else:
            lines.append(f"{indent}{key}: {_flow(value)}")
    return lines


def _flow(value: Any) -> str:
    """Return a value on one line; every text is in quotes, as JSON has them and YAML reads them."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return json.dumps(value)
