"""What a GPU does, and its link to the host: copies, launches and experts, with CUDA through PyTorch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator.calibrate.device import Device
from simulator.calibrate.drive import LaneTimes
from simulator.calibrate.sample import Sample, repeat
from simulator.config.units import format_bytes
from simulator.errors import InputError

KIB, MIB = 1 << 10, 1 << 20
COPIES = (64 * KIB, MIB, 16 * MIB, 128 * MIB)
IN_A_ROW = 64 * MIB
"""Bytes of small copies that are given in a row, so that the wait at their end hardly counts."""
LAUNCHES = 1000
BEYOND_CACHES = 512 * MIB
NEEDED = 4 << 30
"""Bytes of GPU memory that have to be free: two of the largest experts, buffers, and PyTorch's own."""
WARM_S = 0.5
"""Seconds of work beforehand: an idle GPU and its link run at lower clocks."""
PRECISIONS = ("float32", "float16", "bfloat16")
GROUP = 64
"""Weights that share a scale."""
DENSE_MATRICES = 4
"""Square matrices of a layer's dense work: as many products as attention is charged for."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """What was measured; rates in bytes/s by size, times in seconds.

    ``up`` and ``down`` [pinned?, size] are copies to and from the device; ``experts`` by
    (precision, bytes, tokens), each waited for; ``beside`` how many times longer a pinned copy up takes
    beside experts; ``dequantise`` int4 to float16, by bytes of int4; ``dense`` a layer's products in
    float16 of the widest shape, ``dense_bytes`` of them; ``lanes`` copies up by threads that wait for each,
    where they were measured.
    """

    name: str
    version: str
    memory_bytes: int
    free_bytes: int
    launch: Sample
    up: dict[tuple[bool, int], Sample]
    down: dict[tuple[bool, int], Sample]
    device_copy: Sample
    experts: dict[tuple[str, int, int], Sample]
    dequantise: Sample
    dense: Sample
    dense_bytes: int
    beside: float
    lanes: LaneTimes | None = None


def measure_gpu(
    device: Device, shapes: Sequence[tuple[int, int]], tokens: Sequence[int], *, repeats: int
) -> Gpu:
    """Measure a device. Errors: InputError (too little free memory)."""
    free, total = device.memory()
    if free < NEEDED:
        raise InputError(
            "--gpu",
            f"{format_bytes(free)} of GPU memory are free, {format_bytes(NEEDED)} needed",
            "stop what uses it",
        )
    bench = Bench(device, repeats)
    bench.warm_up(shapes[0])
    experts = {
        (name, *key): sample
        for name in PRECISIONS
        for key, sample in bench.experts(shapes, tokens, getattr(device.torch, name)).items()
    }
    pinned, hidden = (True, False), max(hidden for hidden, _ in shapes)
    return Gpu(
        name=device.name,
        version=device.version,
        memory_bytes=total,
        free_bytes=free,
        launch=bench.launch(),
        up={(pin, n): bench.copy(n, up=True, pinned=pin) for pin in pinned for n in COPIES},
        down={(pin, n): bench.copy(n, up=False, pinned=pin) for pin in pinned for n in COPIES},
        device_copy=bench.device_copy(COPIES[-1]),
        experts=experts,
        dequantise=bench.dequantise(COPIES[-1]),
        dense=bench.dense(hidden),
        dense_bytes=DENSE_MATRICES * hidden * hidden * 2,
        beside=bench.beside(COPIES[-1], shapes[-1]),
    )


def swiglu(torch: Any, weights: Any, x: Any) -> Any:
    """Return an expert's output as ``simulator.calibrate.expert.swiglu`` does, of tensors."""
    gate, up, down = weights
    return down.T @ (torch.nn.functional.silu(gate @ x) * (up @ x))


def dequantise(torch: Any, packed: Any, scales: Any) -> Any:
    """Return float16 [groups, GROUP] of int4, two in a byte, [groups, GROUP / 2], and scales [groups, 1]."""
    low, high = ((part.to(torch.float16) - 8) for part in (packed & 15, packed >> 4))
    return torch.stack((low, high), -1).view(len(packed), GROUP) * scales


class Bench:
    """Measurements on one device: each starts when nothing is under way, and ends when all is done."""

    def __init__(self, device: Device, repeats: int) -> None:
        self.device, self.torch, self.repeats = device, device.torch, repeats

    def warm_up(self, shape: tuple[int, int]) -> None:
        """Copy and compute for a while."""
        _, _, compute = self._walk(shape, 1, self.torch.float16)
        host, there = self._buffers(MIB, pinned=True)
        end = time.perf_counter() + WARM_S
        while time.perf_counter() < end:
            there.copy_(host, non_blocking=True)
            compute()
            self.device.wait()

    def _in_a_row(self, work: Callable[[], object], n: int) -> Sample:
        """Time ``work``, given ``n`` times before it is waited for."""

        def measure() -> float:
            self.device.wait()
            start = time.perf_counter()
            for _ in range(n):
                work()
            self.device.wait()
            return (time.perf_counter() - start) / n

        return repeat(measure, self.repeats)

    def _each(self, work: Callable[[], object], n: int) -> Sample:
        """Time ``work``, waited for each time; a repeat is the median of ``n``."""

        def measure() -> float:
            self.device.wait()
            times = []
            for _ in range(n):
                start = time.perf_counter()
                work()
                self.device.wait_compute()
                times.append(time.perf_counter() - start)
            return float(np.median(times))

        return repeat(measure, self.repeats)

    def launch(self) -> Sample:
        """Return what one kernel costs that does nothing."""
        x = self.torch.zeros(1, device=self.device.device)
        return self._in_a_row(lambda: x.add_(1), LAUNCHES)

    def _buffers(self, n_bytes: int, *, pinned: bool) -> tuple[Any, Any]:
        torch = self.torch
        host = self.device.host(n_bytes, pinned=pinned)
        return host, torch.ones(n_bytes, dtype=torch.uint8, device=self.device.device)

    def copy(self, n_bytes: int, *, up: bool, pinned: bool) -> Sample:
        """Return the bytes/s of copies to (``up``) or from the device.

        Pageable ones are waited for one by one: CUDA copies them through a buffer of its own.
        """
        host, there = self._buffers(n_bytes, pinned=pinned)
        target, source = (there, host) if up else (host, there)
        n = max(8, IN_A_ROW // n_bytes)
        return _rate(self._in_a_row(lambda: target.copy_(source, non_blocking=pinned), n), n_bytes)

    def device_copy(self, n_bytes: int) -> Sample:
        """Return the bytes/s, read and written, of copies within the device."""
        torch = self.torch
        a, b = (torch.ones(n_bytes, dtype=torch.uint8, device=self.device.device) for _ in range(2))
        return _rate(self._in_a_row(lambda: a.copy_(b), 8), 2 * n_bytes)

    def _walk(self, shape: tuple[int, int], tokens: int, dtype: Any) -> tuple[int, int, Callable[[], object]]:
        """Return an expert's bytes, how many there are, and what computes the next, cold in every cache."""
        torch, (hidden, ffn) = self.torch, shape
        size = 3 * hidden * ffn * dtype.itemsize
        n, device = max(2, BEYOND_CACHES // size), self.device.device
        weights = torch.randn(n, 3, ffn, hidden, device=device, dtype=dtype) / hidden
        x = torch.randn(hidden, tokens, device=device, dtype=dtype)
        at = 0

        def compute() -> object:
            nonlocal at
            at = (at + 1) % n
            return swiglu(torch, weights[at], x)

        return size, n, compute

    def experts(
        self, shapes: Sequence[tuple[int, int]], tokens: Sequence[int], dtype: Any
    ) -> dict[tuple[int, int], Sample]:
        """Return the seconds of an expert by (bytes, tokens), each waited for."""
        found = {}
        for shape in shapes:
            for t in tokens:
                size, n, compute = self._walk(shape, t, dtype)
                found[size, t] = self._each(compute, min(n, 64))
        return found

    def dequantise(self, n_bytes: int) -> Sample:
        """Return the bytes/s of int4 that become float16."""
        torch, groups = self.torch, n_bytes * 2 // GROUP
        packed = torch.randint(0, 256, (groups, GROUP // 2), dtype=torch.uint8, device=self.device.device)
        scales = torch.ones(groups, 1, dtype=torch.float16, device=self.device.device)
        return _rate(self._in_a_row(lambda: dequantise(torch, packed, scales), 8), n_bytes)

    def dense(self, hidden: int) -> Sample:
        """Return the seconds of a layer's dense products with one token, each layer waited for."""
        torch, device = self.torch, self.device.device
        size = DENSE_MATRICES * hidden * hidden * torch.float16.itemsize
        n = max(2, BEYOND_CACHES // size)
        weights = torch.randn(n, DENSE_MATRICES, hidden, hidden, device=device, dtype=torch.float16) / hidden
        x = torch.randn(hidden, 1, device=device, dtype=torch.float16)
        at = 0

        def layer() -> None:
            nonlocal at
            at = (at + 1) % n
            for matrix in weights[at]:
                matrix @ x

        return self._each(layer, min(n, 64))

    def beside(self, n_bytes: int, shape: tuple[int, int]) -> float:
        """Return how many times longer a pinned copy up takes while experts run on another stream."""
        host, there = self._buffers(n_bytes, pinned=True)
        (stream,) = self.device.streams(1)
        _, _, compute = self._walk(shape, 1, self.torch.float16)

        def copies(meanwhile: Callable[[], object]) -> float:
            self.device.wait()
            start = time.perf_counter()
            with self.device.on(stream):
                for _ in range(8):
                    there.copy_(host, non_blocking=True)
            while not stream.query():
                meanwhile()
            return time.perf_counter() - start

        alone = repeat(lambda: copies(lambda: None), self.repeats)
        return repeat(lambda: copies(compute), self.repeats).median / alone.median


def _rate(took: Sample, n_bytes: int) -> Sample:
    return Sample(n_bytes / took.median, n_bytes / took.high, n_bytes / took.low, took.n)
