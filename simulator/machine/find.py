"""A machine by the name of its profile, by a path, or by its parts."""

from __future__ import annotations

from simulator.machine.hardware import HardwareProfile, load_hardware
from simulator.machine.parts import compose, is_parts


def load_machine(said: str) -> HardwareProfile:
    """Return the machine that an experiment names. Errors: InputError."""
    return compose(said) if is_parts(said) else load_hardware(said)
