"""What DRAM does: copies larger than the caches, by threads."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from simulator.calibrate.sample import Sample, repeat


def measure_dram(threads: Sequence[int], n_bytes: int, *, repeats: int) -> dict[int, Sample]:
    """Return bytes/s read and written by copies of ``n_bytes`` a thread (numpy releases the interpreter)."""
    found = {}
    for n in threads:
        sources = [np.ones(n_bytes // 8) for _ in range(n)]
        targets = [np.zeros(n_bytes // 8) for _ in range(n)]
        with ThreadPoolExecutor(n) as pool:

            def copy() -> float:
                start = time.perf_counter()
                list(pool.map(np.copyto, targets, sources))  # noqa: B023 # called at once
                return 2 * n_bytes * n / (time.perf_counter() - start)  # noqa: B023 # likewise

            found[n] = repeat(copy, repeats)
    return found
