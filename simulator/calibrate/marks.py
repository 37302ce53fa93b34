"""What a profile says of how it was measured, in words that are read again."""

from __future__ import annotations

import re

from simulator.machine.hardware import HardwareProfile

NUMPY = "SwiGLU in numpy, float32, {} compute thread(s)"
REHEARSED_ON = "a rehearsal on PyTorch's CPU in small sizes: no number here is a GPU's"
MEASURED_ON = "Measured by moesim calibrate on "


def threads_of(profile: HardwareProfile) -> int | None:
    """Return with how many threads experts were measured on the CPU; None if the profile does not say."""
    unit = profile.compute.cpu
    found = unit and re.search(re.escape(NUMPY).replace(r"\{\}", r"(\d+)"), unit.memory_bandwidth.source)
    return int(found[1]) if found else None


def date_of(profile: HardwareProfile) -> str | None:
    """Return the day on which ``moesim calibrate`` measured the profile; None if it did not."""
    found = re.search(re.escape(MEASURED_ON) + r"([\d-]+)", profile.notes)
    return found[1] if found else None
