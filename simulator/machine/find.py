"""A machine by the name of its profile, by a path, or by its parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulator.machine.hardware import HardwareProfile, load_hardware
from simulator.machine.parts import as_text, compose, is_parts


def load_machine(said: str | Mapping[str, Any]) -> HardwareProfile:
    """Return the machine that an experiment names. Errors: InputError."""
    if not isinstance(said, str):
        said = as_text(said)
    return compose(said) if is_parts(said) else load_hardware(said)
