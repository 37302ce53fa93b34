"""Measurements of what eager PyTorch costs beside bytes and flops: on the host, and for each launch."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from simulator.calibrate.gpu_bench import Bench, swiglu
from simulator.calibrate.sample import Sample, repeat
from simulator.calibrate.unpack import GROUP, PER_WORD, rows, to_float16

NARROW = 64
"""Hidden size at which a layer is launches only."""
LAYER_LAUNCHES = 13
"""Kernels of ``layer``: 8 of the norm, 3 products, activation, product; counted."""
COPY_BYTES = 4096
HOLDS = 16
"""Products of ``held``: some 20 ms on an H100, while launches are queued in some 3."""


def layer(torch: Any, device: Any) -> Callable[[], object]:
    """Return what computes a norm and an expert on one token, in modules as model code in PyTorch has."""
    nn, where = torch.nn, {"device": device, "dtype": torch.float16}
    gate, up, down = (nn.Linear(NARROW, NARROW, bias=False, **where) for _ in range(3))
    weight, act, x = torch.ones(NARROW, **where), nn.SiLU(), torch.ones(1, NARROW, **where)

    def compute() -> object:
        with torch.no_grad():
            wide = x.to(torch.float32)
            scaled = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)
            h = weight * scaled.to(torch.float16)
            return down(act(gate(h)) * up(h))

    return compute


class EagerBench(Bench):
    """Measurements on one device, each from rest to rest; none depends on what the launches compute."""

    def issue(self, work: Callable[[], object], launches: int) -> Sample:
        """Return the host's seconds of a launch, of ``work`` that makes so many; nothing is waited for."""
        n = max(1, self.sizes.queued // launches)

        def measure() -> float:
            self.device.wait()
            start = time.perf_counter()
            for _ in range(n):
                work()
            took = time.perf_counter() - start
            self.device.wait()
            return took / (n * launches)

        return repeat(measure, self.repeats)

    def tiny(self) -> Callable[[], object]:
        """Return the addition of one number."""
        x = self.torch.zeros(1, device=self.device.device)
        return lambda: x.add_(1)

    def start(self) -> Sample:
        """Return the device's seconds of a launch that was queued in time."""
        return self._queued(self._tiny_row())

    def node(self) -> Sample | None:
        """Return the device's seconds of a graph's node; None where the device has no graphs."""
        work = self._tiny_row()  # a graph does not keep the memory that it writes to
        replay = self.device.graph(work)
        return None if replay is None else self._queued(replay)

    def _tiny_row(self) -> Callable[[], object]:
        tiny = self.tiny()

        def work() -> None:
            for _ in range(self.sizes.queued):
                tiny()

        return work

    def _queued(self, work: Callable[[], object]) -> Sample:
        """Time ``work`` by marks in the device's queue, behind products that hold it up; its launches' share.

        So all of it is queued before the first launch runs, and the host is not in the time.
        """
        torch, side = self.torch, self.sizes.held
        a = torch.ones(side, side, device=self.device.device, dtype=torch.float16)

        def measure() -> float:
            first, last = self.device.mark(), self.device.mark()
            self.device.wait()
            for _ in range(HOLDS):
                a @ a
            first.record()
            work()
            last.record()
            self.device.wait()
            return float(first.elapsed_time(last)) / 1e3 / self.sizes.queued

        return repeat(measure, self.repeats)

    def round_trip(self) -> Sample:
        """Return the seconds of a kernel, a wait, and the read of one number."""
        x = self.torch.zeros(1, device=self.device.device)
        return self._each(lambda: x.add_(1).item(), 32)

    def copy_call(self) -> Sample:
        """Return the host's seconds of a call that copies pinned memory to the device."""
        host, there = self._buffers(COPY_BYTES, pinned=True)
        return self.issue(lambda: there.copy_(host, non_blocking=True), 1)

    def unpacking(self, bits: int) -> Sample:
        """Return the seconds a weight of unpacking to float16."""
        torch, where = self.torch, self.device.device
        groups = self.sizes.unpacked // GROUP
        word = torch.uint8 if PER_WORD[bits] * bits <= 8 else torch.int32
        words = torch.randint(0, 256, (rows(bits), groups), dtype=word, device=where)
        zeros, scales = (torch.ones(1, groups, dtype=torch.float16, device=where) for _ in range(2))
        took = self._in_a_row(lambda: to_float16(torch, words, bits, zeros, scales), 8)
        n = groups * GROUP
        return Sample(took.median / n, took.low / n, took.high / n, took.n)

    def chosen_experts(self) -> tuple[Sample, Sample]:
        """Return the seconds of a token's experts: all in three batched products, and one by one."""
        torch, k, (hidden, ffn) = self.torch, self.sizes.chosen, self.sizes.expert
        where = {"device": self.device.device, "dtype": torch.float16}
        n = max(2, self.sizes.beyond_caches // (k * 3 * hidden * ffn * torch.float16.itemsize))
        weights = torch.randn(n, k, 3, ffn, hidden, **where) / hidden
        x, at = torch.randn(hidden, 1, **where), 0

        def walk(compute: Callable[[Any], object]) -> Callable[[], object]:
            def step() -> object:
                nonlocal at
                at = (at + 1) % n
                return compute(weights[at])

            return step

        def together(experts: Any) -> object:
            return fused(torch, experts, x)

        def apart(experts: Any) -> object:
            return sum(swiglu(torch, one, x) for one in experts)

        count = min(n, 64)
        return self._each(walk(together), count), self._each(walk(apart), count)


def fused(torch: Any, experts: Any, x: Any) -> Any:
    """Return the sum of the outputs of ``experts`` [k, 3, ffn, hidden] for ``x`` [hidden, 1]."""
    gate, up, down = experts.unbind(1)
    every = x.expand(len(experts), *x.shape)
    inner = torch.nn.functional.silu(torch.bmm(gate, every)) * torch.bmm(up, every)
    return torch.bmm(down.transpose(1, 2), inner).sum(0)
