"""Calibration between the tokens of a reference run: on a shared machine a minute ago is another drive."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Self

import numpy as np

from simulator.calibrate.drive import DriveTimes
from simulator.calibrate.expert import swiglu
from simulator.calibrate.measure import Measured
from simulator.calibrate.readers import Read, Readers
from simulator.calibrate.sample import Sample, sample
from simulator.calibrate.scratch import ALIGN
from simulator.validate.reference_run import Shape, expert_memory

BEYOND_CACHES = 256 << 20
"""Bytes of memory to read into and compute from, so that an expert is as cold as one of the run."""
READS = 2
"""Reads a lane where all are busy. Fewer lanes are busy only where a step misses less: then one read each.

Either way a round starts from idle threads and an idle drive, as a layer step does.
"""


class Probe:
    """Measures reads by 1 to ``lanes`` threads beside experts, and experts beside reads; a call is one round.

    It uses threads and memory of its own, and places at random: of the run's demand it knows nothing.
    """

    def __init__(self, fd: int, n_bytes: int, shape: Shape, lanes: int) -> None:
        self.shape, self.places = shape, n_bytes // shape.expert_bytes
        self.memory = expert_memory(shape, max(2 * lanes, BEYOND_CACHES // shape.expert_bytes))
        self.readers = {n: Readers(fd, n) for n in range(1, lanes + 1)}
        self.rng = np.random.default_rng(2)
        self.x = np.ones((shape.hidden, 1), dtype=np.float32)
        self.alone: list[float] = []
        self.busy: dict[int, list[float]] = {n: [] for n in self.readers}
        self.experts: dict[int, list[float]] = {}
        self.next = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for readers in self.readers.values():
            readers.__exit__(kind, error, trace)

    def __call__(self) -> None:
        """Measure one round of each."""
        self.alone.append(self._round(self.readers[1], ALIGN, 1, lambda: None))
        for lanes, readers in self.readers.items():
            reads = READS if lanes == len(self.readers) else 1
            took = self._round(readers, self.shape.expert_bytes, reads * lanes, self._expert)
            self.busy[lanes].append(took / reads)

    def _round(self, readers: Readers, n_bytes: int, n: int, meanwhile: Callable[[], None]) -> float:
        """Read ``n`` times; return the seconds until all were there."""
        lanes = len(readers.threads)
        offsets = (self.rng.integers(0, self.places, n) * self.shape.expert_bytes).tolist()
        slots = self.memory.slots
        into = (
            self.rng.integers(0, len(slots) // lanes, n) * lanes + np.arange(n) % lanes
        )  # none twice at once
        reads = [
            Read(i, at, slots[slot][:n_bytes])
            for i, (at, slot) in enumerate(zip(offsets, into.tolist(), strict=True))
        ]
        start = time.perf_counter()
        with readers.lock:
            readers.demand.extend(reads)
            readers.lock.notify_all()
        left = n
        while left:
            meanwhile()
            left -= len(readers.poll() or [readers.wait()])
        return time.perf_counter() - start

    def _expert(self) -> None:
        """Compute the next expert whole, and half of the one after it."""
        weights = self.memory.weights
        for ffn in (self.shape.ffn, self.shape.ffn // 2):
            self.next = (self.next + 1) % len(weights)
            start = time.perf_counter()
            swiglu(weights[self.next, :, :ffn], self.x)
            size = Shape(self.shape.hidden, ffn).expert_bytes
            self.experts.setdefault(size, []).append(time.perf_counter() - start)

    def measured(self, before: Measured) -> Measured:
        """Return a calibration with what was measured here in place of what was measured ``before``."""
        block = self.shape.expert_bytes
        busy = {(block, n): sample(times) for n, times in self.busy.items()}
        many = {key: found for key, found in before.experts.float32.items() if key > (block, 1)}
        one: dict[tuple[int, int], Sample] = {(size, 1): sample(t) for size, t in self.experts.items()}
        return replace(
            before,
            plan=replace(before.plan, blocks=(block,), lanes=tuple(self.busy), reads=READS),
            drive=DriveTimes(sample(self.alone), busy),
            experts=replace(before.experts, float32=many | one),
        )
