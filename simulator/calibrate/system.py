"""What the machine says of itself: processors, memory, load, versions."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simulator import __version__

BUSY = 0.5
"""Load average a core, from which on others compute at the same time."""


@dataclass(frozen=True, slots=True)
class System:
    """Name of the processor, cores that may be used, DRAM in all and in use, and load a core.

    ``virtual``: whether the processor says that a hypervisor runs it; None where it does not say.
    """

    processor: str
    cores: int
    memory_bytes: int
    used_bytes: int
    load: float
    virtual: bool | None = None

    @property
    def kind(self) -> str:
        """Return what is known of a hypervisor."""
        said = {True: "a virtual machine", False: "no virtual machine, as far as the processor says"}
        return "virtual or not: not known" if self.virtual is None else said[self.virtual]

    @property
    def versions(self) -> str:
        """Return what measured, for a profile's notes."""
        return (
            f"moesim {__version__}, Python {platform.python_version()}, numpy {np.__version__}, "
            f"{platform.system()} {platform.release()}"
        )


def this_system() -> System:
    """Ask the operating system; what it does not say is left at what is safe (all memory free)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    available = _field("/proc/meminfo", "MemAvailable")
    free = int(available.split()[0]) * 1024 if available else total
    name = _field("/proc/cpuinfo", "model name") or platform.machine()
    flags = _field("/proc/cpuinfo", "flags").split()
    virtual = "hypervisor" in flags if flags else None
    return System(name, cores, total, max(0, total - free), os.getloadavg()[0] / cores, virtual)


def _field(path: str, name: str) -> str:
    """Return what follows ``name:`` in a file of the kernel; "" where there is none."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
