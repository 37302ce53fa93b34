"""What reads of the drive and compute cost each other."""

from __future__ import annotations

import threading

import numpy as np

from simulator.calibrate.drive import measure_drive
from simulator.calibrate.expert import measure_experts

BUDGET = 128 << 20


def measure_contention(
    fd: int, n_bytes: int, block: int, lanes: int, shape: tuple[int, int], *, repeats: int
) -> tuple[float, float]:
    """Return how many times longer an expert takes beside reads, and a read beside experts."""
    alone = measure_experts([shape], [1], repeats=repeats, budget=BUDGET).float32
    reads_alone = measure_drive(fd, n_bytes, [block], [lanes], reads=16, repeats=repeats).busy[block, lanes]
    stop = threading.Event()
    beside: list[float] = []

    def read() -> None:
        while not stop.is_set():
            drive = measure_drive(fd, n_bytes, [block], [lanes], reads=16, repeats=1)
            beside.append(drive.busy[block, lanes].median)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        both = measure_experts([shape], [1], repeats=max(repeats, 5), budget=BUDGET).float32
    finally:
        stop.set()
        reader.join()
    (size,) = alone
    return both[size].median / alone[size].median, float(np.median(beside)) / reads_alone.median
