"""What a drive does: reads at random places past the page cache, by block size and reader threads."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.calibrate.pages import read_memory
from simulator.calibrate.readers import Read, Readers, file_move
from simulator.calibrate.sample import Sample, repeat
from simulator.calibrate.scratch import ALIGN


@dataclass(frozen=True, slots=True)
class LaneTimes:
    """Seconds a read takes: ``alone`` of one 4 KiB block, ``busy[block, lanes]`` with all lanes kept busy.

    Both as an engine sees them: from handing the read to a thread until its end is known.
    """

    alone: Sample
    busy: dict[tuple[int, int], Sample]

    def bandwidth(self, block: int, lanes: int) -> float:
        """Return the bytes/s of all lanes together, latencies included.

        They are not told apart: lanes that wait and lanes that move get in each other's way, so a
        latency beside a rate, which the engine lets overlap, would be faster than the drive.
        """
        return lanes * block / self.busy[block, lanes].median


def measure_drive(
    fd: int, n_bytes: int, blocks: Sequence[int], lanes: Sequence[int], *, reads: int, repeats: int
) -> LaneTimes:
    """Time reads of an O_DIRECT file of ``n_bytes``: ``reads`` a lane in each of ``repeats`` rounds."""
    rng = np.random.default_rng(1)
    memory = read_memory(max(blocks) * max(lanes))
    with Readers(file_move(fd), 1) as readers:
        alone = repeat(lambda: _alone(readers, rng, n_bytes, memory, reads), repeats)
    busy = {}
    for n in lanes:
        with Readers(file_move(fd), n) as readers:
            for block in blocks:
                took = repeat(lambda: _round(readers, rng, n_bytes, memory, block, reads * n), repeats)  # noqa: B023 # called at once
                busy[block, n] = _scaled(took, 1 / reads)
    return LaneTimes(alone, busy)


def _alone(readers: Readers, rng: np.random.Generator, n_bytes: int, memory: memoryview, n: int) -> float:
    """Read the smallest block ``n`` times, one at a time; return the median of the seconds."""
    return float(np.median([_round(readers, rng, n_bytes, memory, ALIGN, 1) for _ in range(n)]))


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
    return time.perf_counter() - start


def _scaled(sample: Sample, by: float) -> Sample:
    return Sample(sample.median * by, sample.low * by, sample.high * by, sample.n)
