"""A device of PyTorch: the first CUDA device; or PyTorch's own CPU, on which tests run the same lines."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from simulator.calibrate.sizes import REHEARSED, Sizes
from simulator.calibrate.system import this_system
from simulator.errors import InputError


class Immediate:
    """The stream of a device that has done everything when a call returns."""

    def synchronize(self) -> None:
        """Return: nothing is under way."""

    def query(self) -> bool:
        """Return True: nothing is under way."""
        return True


class Clock:
    """A mark in the queue of such a device: the moment at which it is recorded."""

    def record(self) -> None:
        """Keep the moment."""
        self.at = time.perf_counter()

    def elapsed_time(self, later: Clock) -> float:
        """Return the milliseconds from this mark to a later one."""
        return (later.at - self.at) * 1e3


class Device:
    """A device, and what is asked of it: memory, streams, and waiting.

    Work of the thread that computes goes to the default stream. Other streams do not wait for it, nor it for
    them (PyTorch makes them non-blocking); there are 32, which PyTorch hands out in turn.
    """

    def __init__(self, torch: Any, name: str) -> None:
        self.torch, self.device = torch, torch.device(name)
        self.cuda = self.device.type == "cuda"
        self.sizes = Sizes() if self.cuda else REHEARSED

    @property
    def name(self) -> str:
        """Return the device's name."""
        return str(self.torch.cuda.get_device_name(self.device)) if self.cuda else "PyTorch's CPU (no GPU)"

    @property
    def version(self) -> str:
        """Return what drives it."""
        return f"torch {self.torch.__version__}, CUDA {self.torch.version.cuda}"

    def memory(self) -> tuple[int, int]:
        """Return bytes (free, in all), with what PyTorch holds without using it given back first."""
        if self.cuda:
            self.torch.cuda.empty_cache()
            free, total = self.torch.cuda.mem_get_info(self.device)
            return int(free), int(total)
        system = this_system()
        return system.memory_bytes - system.used_bytes, system.memory_bytes

    def host(self, n_bytes: int, *, pinned: bool = True) -> Any:
        """Return bytes of host memory; PyTorch pins the next power of two."""
        return self.torch.ones(n_bytes, dtype=self.torch.uint8, pin_memory=pinned and self.cuda)

    def streams(self, n: int) -> list[Any]:
        """Return streams; ask once and keep them, since the pool's are handed out again."""
        return [self.torch.cuda.Stream(self.device) if self.cuda else Immediate() for _ in range(n)]

    def on(self, stream: Any) -> AbstractContextManager[Any]:
        """Let this thread's work go to ``stream``."""
        return self.torch.cuda.stream(stream) if self.cuda else nullcontext()

    def mark(self) -> Any:
        """Return a mark that is recorded in this thread's stream and tells the time to another."""
        return self.torch.cuda.Event(enable_timing=True) if self.cuda else Clock()

    def graph(self, work: Callable[[], object]) -> Callable[[], object] | None:
        """Return what replays the kernels of ``work`` as one graph; None where there are no graphs."""
        if not self.cuda:
            return None
        (stream,) = self.streams(1)
        with self.on(stream):
            work()  # what is set up at first use cannot be captured
        self.wait()
        graph = self.torch.cuda.CUDAGraph()
        with self.torch.cuda.graph(graph):
            work()
        return graph.replay  # type: ignore[no-any-return]

    def wait(self) -> None:
        """Wait for all streams."""
        if self.cuda:
            self.torch.cuda.synchronize(self.device)

    def wait_compute(self) -> None:
        """Wait for this thread's stream, and no other."""
        if self.cuda:
            self.torch.cuda.current_stream(self.device).synchronize()


def cuda_device() -> Device:
    """Return the first CUDA device. Errors: InputError (no torch, no CUDA)."""
    torch = _torch()
    if not torch.cuda.is_available():
        raise InputError("--gpu", "PyTorch sees no CUDA device", "leave --gpu out")
    return Device(torch, "cuda:0")


def rehearsal_device() -> Device:
    """Return PyTorch's CPU, on one thread: small work is slower on more. Errors: InputError (no torch)."""
    torch = _torch()
    torch.set_num_threads(1)
    return Device(torch, "cpu")


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        raise InputError("--gpu", "PyTorch is not installed", "pip install moesim[record]") from None
    return torch
