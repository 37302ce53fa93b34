"""Measurements on one device: copies, launches and experts, with CUDA through PyTorch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from simulator.calibrate.dense import DENSE_MATRICES, products
from simulator.calibrate.device import Device
from simulator.calibrate.sample import Sample, repeat

MIB = 1 << 20
GROUP = 64
"""Weights that share a scale."""


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
        self.device, self.torch, self.sizes, self.repeats = device, device.torch, device.sizes, repeats

    def warm_up(self, shape: tuple[int, int]) -> None:
        """Copy and compute for a while."""
        _, _, compute = self._walk(shape, 1, self.torch.float16)
        host, there = self._buffers(MIB, pinned=True)
        end = time.perf_counter() + self.sizes.warm_s
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
        return self._in_a_row(lambda: x.add_(1), self.sizes.launches)

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
        n = max(8, self.sizes.in_a_row // n_bytes)
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
        n, device = max(2, self.sizes.beyond_caches // size), self.device.device
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
        torch, where = self.torch, {"device": self.device.device, "dtype": self.torch.float16}
        n = max(2, self.sizes.beyond_caches // (DENSE_MATRICES * hidden * hidden * torch.float16.itemsize))
        weights = torch.randn(n, DENSE_MATRICES, hidden, hidden, **where) / hidden**0.5
        x = torch.randn(hidden, 1, **where)
        at = 0

        def layer() -> None:
            nonlocal at
            at = (at + 1) % n
            products(weights[at], x)

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
