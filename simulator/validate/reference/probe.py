"""Calibration between the tokens of a reference run: on a shared machine a minute ago is another drive."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Self

import numpy as np

from simulator.calibrate.drive import LaneTimes
from simulator.calibrate.measure import Measured
from simulator.calibrate.readers import Read, Readers
from simulator.calibrate.sample import Sample, sample
from simulator.calibrate.scratch import ALIGN
from simulator.validate.reference.machine import BEYOND_CACHES, Machine

READS = 2
"""Reads a lane where all are busy. Fewer lanes are busy only where a step misses less: then one read each.

Either way a round starts from idle threads and an idle drive, as a layer step does.
"""


class Probe:
    """Measures reads by 1 to ``lanes`` threads beside experts, and experts beside reads; a call is one round.

    It uses fast memory and threads of its own, and places at random: of the run's demand it knows nothing.
    """

    def __init__(self, machine: Machine, lanes: int) -> None:
        self.machine, self.shape = machine, machine.shape
        # as cold as an expert of the run
        self.memory = machine.memory(max(2 * lanes, BEYOND_CACHES // machine.shape.expert_bytes))
        self.landed: dict[int, float] = {}
        self.readers = {n: Readers(self._move, n) for n in range(1, lanes + 1)}
        self.rng = np.random.default_rng(2)
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
        self.alone.append(self._round(self.readers[1], ALIGN, 1, lambda _: None))
        for lanes, readers in self.readers.items():
            reads = READS if lanes == len(self.readers) else 1
            took = self._round(readers, self.shape.expert_bytes, reads * lanes, self._compute)
            self.busy[lanes].append(took / reads)
            for _ in range(reads * lanes):
                self._cold()  # with nothing else going on, as in a step that misses nothing

    def _move(self, lane: int, read: Read) -> None:
        self.machine.move(lane, read)
        self.landed[read.key] = time.perf_counter()

    def _round(self, readers: Readers, n_bytes: int, n: int, compute: Callable[[int | None], None]) -> float:
        """Read ``n`` times; return the seconds until all were there.

        Beside it ``compute`` as many experts that were there, then each that has landed, as a step does.
        A last read that lands while something is computed has its thread's word for when, not the later
        moment at which it is noticed.
        """
        lanes = len(readers.threads)
        offsets = (self.rng.integers(0, self.machine.places, n) * self.shape.expert_bytes).tolist()
        slots = self.memory.slots
        into = (
            self.rng.integers(0, len(slots) // lanes, n) * lanes + np.arange(n) % lanes
        ).tolist()  # none twice at once
        reads = [
            Read(i, at, slots[slot][:n_bytes]) for i, (at, slot) in enumerate(zip(offsets, into, strict=True))
        ]
        start = time.perf_counter()
        with readers.lock:
            readers.demand.extend(reads)
            readers.lock.notify_all()
        for _ in range(n):
            compute(None)
        for _ in range(n - 1):
            compute(into[readers.wait()])
        noticed_late = not readers.done.empty()
        last = readers.wait()
        took = (self.landed[last] if noticed_late else time.perf_counter()) - start
        compute(into[last])
        return took

    def _cold(self) -> None:
        """Compute the next expert in memory, and half of the one after it."""
        for ffn in (self.shape.ffn, self.shape.ffn // 2):
            self.next = (self.next + 1) % len(self.memory.slots)
            self._expert(self.next, ffn)

    def _compute(self, slot: int | None) -> None:
        """Compute an expert that has just landed in ``slot``, or the next one in memory."""
        if slot is None:
            self._cold()
        else:
            self._expert(slot, self.shape.ffn)

    def _expert(self, slot: int, ffn: int) -> None:
        start = time.perf_counter()
        self.machine.expert(self.memory.weights[slot, :, :ffn])
        size = replace(self.shape, ffn=ffn).expert_bytes
        self.experts.setdefault(size, []).append(time.perf_counter() - start)

    def measured(self, before: Measured) -> Measured:
        """Return a calibration with what was measured here in place of what was measured ``before``."""
        block = self.shape.expert_bytes
        lanes = LaneTimes(sample(self.alone), {(block, n): sample(times) for n, times in self.busy.items()})
        one: dict[tuple[int, int], Sample] = {(size, 1): sample(t) for size, t in self.experts.items()}
        before = replace(before, plan=replace(before.plan, reads=READS))
        if before.gpu is not None:
            halves = {("float16", *key): found for key, found in one.items()}
            gpu = replace(before.gpu, lanes=lanes, experts=before.gpu.experts | halves)
            return replace(before, gpu=gpu)
        many = {key: found for key, found in before.experts.float32.items() if key > (block, 1)}
        return replace(before, drive=lanes, experts=replace(before.experts, float32=many | one))
