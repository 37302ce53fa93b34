"""The machine of a reference run whose experts are in pinned host memory and are computed on a GPU."""

from __future__ import annotations

from typing import Any

from simulator.calibrate.dense import DENSE_MATRICES, dense_layer
from simulator.calibrate.device import Device
from simulator.calibrate.gpu_bench import swiglu
from simulator.calibrate.readers import Read
from simulator.validate.reference.machine import Memory, Shape

POOL_BYTES = 4 << 30
"""Most bytes of host memory that are pinned.

A power of two, since PyTorch pins the next one (pytorch issue 95823); far beyond any cache, so that a copy
reads DRAM as one of all experts would.
"""


class GpuMachine:
    """Pinned memory, a CUDA stream for each lane, float16 weights and PyTorch on the default stream.

    A lane waits for its own stream only, and what computes for its own: each is on the clock as long as an
    engine is that has to know. Slots and host memory outlive every copy, so that no allocator has to be
    told of streams.
    """

    def __init__(self, device: Device, shape: Shape, n_layers: int, n_experts: int, lanes: int) -> None:
        torch = device.torch
        self.device, self.shape, self.dtype = device, shape, torch.float16
        self.places = min(n_experts, POOL_BYTES // shape.expert_bytes)
        self.streams = device.streams(lanes)
        self.host = device.host(self.places * shape.expert_bytes)
        one = (torch.rand(3 * shape.ffn * shape.hidden) / 1024).to(self.dtype).view(torch.uint8)
        self.host.view(self.places, -1)[:] = one
        hidden, where = shape.hidden, {"device": device.device, "dtype": self.dtype}
        self.matrices = torch.randn(n_layers, DENSE_MATRICES, hidden, hidden, **where) / hidden**0.5
        self.x = torch.randn(hidden, 1, **where)
        device.wait()

    def memory(self, n_slots: int) -> Memory:
        """Return memory of the device."""
        shape, torch = self.shape, self.device.torch
        weights = torch.full(
            (n_slots, 3, shape.ffn, shape.hidden),
            1 / shape.hidden,
            device=self.device.device,
            dtype=self.dtype,
        )
        self.device.wait()  # before another stream writes there
        return Memory(list(weights.view(n_slots, -1).view(torch.uint8).unbind()), weights)

    def move(self, lane: int, read: Read) -> None:
        """Copy on the lane's stream, and wait for that."""
        stream, buffer = self.streams[lane], read.buffer
        with self.device.on(stream):
            buffer.copy_(self.host[read.offset : read.offset + len(buffer)], non_blocking=True)
        stream.synchronize()

    def dense(self, layer: int) -> None:
        """Compute a layer's dense work."""
        self.x = dense_layer(self.matrices[layer], self.x)
        self.device.wait_compute()

    def expert(self, weights: Any) -> None:
        """Compute an expert for one token."""
        swiglu(self.device.torch, weights, self.x)
        self.device.wait_compute()
