"""What a drive does: reads at random places past the page cache, by block size and reader threads."""

from __future__ import annotations

import mmap
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.calibrate.readers import Read, Readers
from simulator.calibrate.sample import Sample, repeat
from simulator.calibrate.scratch import ALIGN


@dataclass(frozen=True, slots=True)
class DriveTimes:
    """Seconds a read takes: ``alone`` of one 4 KiB block, ``busy[block, lanes]`` with all lanes kept busy.

    Both as an engine sees them: from handing the read to a thread until its end is known.
    """

    alone: Sample
    busy: dict[tuple[int, int], Sample]

    @property
    def latency_s(self) -> float:
        """Return the fixed cost of a read: that of the smallest block, whose bytes hardly count."""
        return self.alone.median

    def bandwidth(self, block: int, lanes: int) -> float:
        """Return the rate of all lanes together while they move, which the latency is no part of."""
        took = self.busy[block, lanes].median
        moving = max(took - self.latency_s, took * 0.01)  # a block as small as the smallest is all latency
        return lanes * block / moving


def measure_drive(
    fd: int, n_bytes: int, blocks: Sequence[int], lanes: Sequence[int], *, reads: int, repeats: int
) -> DriveTimes:
    """Time reads of an O_DIRECT file of ``n_bytes``: ``reads`` a lane in each of ``repeats`` rounds."""
    rng = np.random.default_rng(1)
    with mmap.mmap(-1, max(blocks) * max(lanes)) as memory:
        whole = memoryview(memory)
        try:
            with Readers(fd, 1) as readers:
                alone = repeat(
                    lambda: float(
                        np.median([_round(readers, rng, n_bytes, whole, ALIGN, 1) for _ in range(reads)])
                    ),
                    repeats,
                )
            busy = {}
            for n in lanes:
                with Readers(fd, n) as readers:
                    for block in blocks:
                        took = repeat(lambda: _round(readers, rng, n_bytes, whole, block, reads * n), repeats)  # noqa: B023 # called at once
                        busy[block, n] = _scaled(took, 1 / reads)
        finally:
            whole.release()
    return DriveTimes(alone, busy)


def _round(
    readers: Readers, rng: np.random.Generator, n_bytes: int, memory: memoryview, block: int, n: int
) -> float:
    """Read ``n`` blocks, a buffer for each lane in turn; return the seconds until all were there."""
    lanes = len(readers.threads)
    buffers = [memory[i * block : (i + 1) * block] for i in range(lanes)]
    places = (rng.integers(0, (n_bytes - block) // ALIGN + 1, n) * ALIGN).tolist()
    reads = [Read(i, place, buffers[i % lanes]) for i, place in enumerate(places)]
    start = time.perf_counter()
    with readers.lock:
        readers.demand.extend(reads)
        readers.lock.notify_all()
    for _ in range(n):
        readers.wait()
    took = time.perf_counter() - start
    for buffer in buffers:
        buffer.release()
    return took


def _scaled(sample: Sample, by: float) -> Sample:
    return Sample(sample.median * by, sample.low * by, sample.high * by, sample.n)
