"""What a GPU does, and its link to the host: copies, launches and experts, with CUDA through torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from simulator.calibrate.sample import Sample, repeat
from simulator.errors import InputError

MIB = 1 << 20
COPIES = (64 << 10, MIB, 16 * MIB, 128 * MIB)
LAUNCHES = 1000
BEYOND_CACHES = 512 * MIB


@dataclass(frozen=True, slots=True)
class Gpu:
    """What was measured; rates in bytes/s by size, times in seconds.

    ``up`` and ``down`` [pinned?, size] are copies to and from the device; ``experts`` by
    (precision, bytes, tokens); ``beside`` how many times longer a pinned copy up takes beside experts.
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
    beside: float


def measure_gpu(shapes: Sequence[tuple[int, int]], tokens: Sequence[int], *, repeats: int) -> Gpu:
    """Measure the first CUDA device. Errors: InputError (no torch, no CUDA)."""
    try:
        import torch
    except ImportError:
        raise InputError("--gpu", "PyTorch is not installed", "pip install moesim[record]") from None
    if not torch.cuda.is_available():
        raise InputError("--gpu", "PyTorch sees no CUDA device", "leave --gpu out")
    device = torch.device("cuda:0")
    free, total = torch.cuda.mem_get_info(device)
    bench = Bench(torch, device, torch.cuda.synchronize, repeats)
    experts = {
        (name, *key): sample
        for name in ("float32", "float16", "bfloat16")
        for key, sample in bench.experts(shapes, tokens, getattr(torch, name)).items()
    }
    pinned = (True, False)
    return Gpu(
        name=torch.cuda.get_device_name(device),
        version=f"torch {torch.__version__}, CUDA {torch.version.cuda}",
        memory_bytes=total,
        free_bytes=free,
        launch=bench.launch(),
        up={(pin, n): bench.copy(n, up=True, pinned=pin) for pin in pinned for n in COPIES},
        down={(pin, n): bench.copy(n, up=False, pinned=pin) for pin in pinned for n in COPIES},
        device_copy=bench.device_copy(),
        experts=experts,
        beside=bench.beside(torch.cuda.Stream(device), shapes[-1]),
    )


class Bench:
    """Measurements on one device; ``wait`` returns when all work given to it is done."""

    def __init__(self, torch: Any, device: Any, wait: Callable[[], None], repeats: int) -> None:
        self.torch, self.device, self.wait, self.repeats = torch, device, wait, repeats

    def _time(self, work: Callable[[], object], n: int) -> Sample:
        """Time ``work``, given ``n`` times in a row, so that the wait at the end hardly counts."""

        def measure() -> float:
            self.wait()
            start = time.perf_counter()
            for _ in range(n):
                work()
            self.wait()
            return (time.perf_counter() - start) / n

        return repeat(measure, self.repeats)

    def launch(self) -> Sample:
        """Return what one kernel costs that does nothing."""
        x = self.torch.zeros(1, device=self.device)
        return self._time(lambda: x.add_(1), LAUNCHES)

    def _buffers(self, n_bytes: int, *, pinned: bool) -> tuple[Any, Any]:
        torch = self.torch
        host = torch.ones(n_bytes, dtype=torch.uint8, pin_memory=pinned)
        return host, torch.ones(n_bytes, dtype=torch.uint8, device=self.device)

    def copy(self, n_bytes: int, *, up: bool, pinned: bool) -> Sample:
        """Return the bytes/s of copies to (``up``) or from the device."""
        host, there = self._buffers(n_bytes, pinned=pinned)
        target, source = (there, host) if up else (host, there)
        took = self._time(lambda: target.copy_(source, non_blocking=pinned), 8)
        return _rate(took, n_bytes)

    def device_copy(self) -> Sample:
        """Return the bytes/s, read and written, of copies within the device."""
        torch = self.torch
        a, b = (torch.ones(128 * MIB, dtype=torch.uint8, device=self.device) for _ in range(2))
        return _rate(self._time(lambda: a.copy_(b), 8), 256 * MIB)

    def _walk(self, shape: tuple[int, int], tokens: int, dtype: Any) -> tuple[int, Callable[[], object]]:
        """Return an expert's bytes, and what computes the next of many experts, cold in every cache."""
        torch, (hidden, ffn) = self.torch, shape
        size = 3 * hidden * ffn * dtype.itemsize
        weights = torch.randn(max(2, BEYOND_CACHES // size), 3, ffn, hidden, device=self.device).to(dtype)
        x = torch.randn(hidden, tokens, device=self.device).to(dtype)
        at = 0

        def compute() -> object:
            nonlocal at
            at = (at + 1) % len(weights)
            gate, up, down = weights[at]
            return down.T @ (torch.nn.functional.silu(gate @ x) * (up @ x))

        return size, compute

    def experts(
        self, shapes: Sequence[tuple[int, int]], tokens: Sequence[int], dtype: Any
    ) -> dict[tuple[int, int], Sample]:
        """Return the seconds of a SwiGLU expert by (bytes, tokens)."""
        found = {}
        for shape in shapes:
            for n in tokens:
                size, compute = self._walk(shape, n, dtype)
                found[size, n] = self._time(compute, 64)
        return found

    def beside(self, stream: Any, shape: tuple[int, int]) -> float:
        """Return how many times longer a pinned copy up takes while experts run on another stream."""
        torch = self.torch
        host, there = self._buffers(128 * MIB, pinned=True)
        alone = self._time(lambda: there.copy_(host, non_blocking=True), 8).median
        _, compute = self._walk(shape, 1, torch.float16)
        event_pairs = []
        for _ in range(self.repeats):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            self.wait()
            with torch.cuda.stream(stream):
                start.record()
                for _ in range(8):
                    there.copy_(host, non_blocking=True)
                end.record()
            while not end.query():
                compute()
            self.wait()
            event_pairs.append(start.elapsed_time(end) / 8e3)
        return float(sorted(event_pairs)[len(event_pairs) // 2] / alone)


def _rate(took: Sample, n_bytes: int) -> Sample:
    return Sample(n_bytes / took.median, n_bytes / took.high, n_bytes / took.low, took.n)
