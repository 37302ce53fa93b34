"""What a reference run moves and computes on: here a drive and a CPU; ``gpu`` has the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from simulator.calibrate.dense import DENSE_MATRICES, dense_layer
from simulator.calibrate.expert import Floats, swiglu
from simulator.calibrate.pages import read_memory
from simulator.calibrate.readers import Read, file_move

BEYOND_CACHES = 256 << 20
"""Bytes of experts that are more than any processor caches."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the stand-in model: experts of 3 matrices hidden x ffn, a weight of 4 or 2 bytes."""

    hidden: int
    ffn: int
    weight_bytes: int = 4

    @property
    def expert_bytes(self) -> int:
        """Return the bytes of an expert."""
        return 3 * self.hidden * self.ffn * self.weight_bytes

    @property
    def dense_bytes(self) -> int:
        """Return the bytes of a layer's dense matrices."""
        return DENSE_MATRICES * self.hidden * self.hidden * self.weight_bytes

    @property
    def precision(self) -> str:
        """Return the name of what weights are."""
        return {4: "fp32", 2: "fp16"}[self.weight_bytes]


@dataclass(frozen=True, slots=True)
class Memory:
    """Slots of fast memory, as bytes that are moved into and as weights [slot, 3, ffn, hidden]."""

    slots: list[Any]
    weights: Any


class Machine(Protocol):
    """Slow memory of ``places`` experts, lanes out of it, and a processor; a call returns when it is done.

    Expert ``key`` lies at place ``key % places``: several share one where they do not all fit.

    """

    shape: Shape
    places: int

    def memory(self, n_slots: int) -> Memory:
        """Return fast memory of so many experts, all of it present."""

    def move(self, lane: int, read: Read) -> None:
        """Move what a read asks for; called by the thread of that lane."""

    def dense(self, layer: int) -> None:
        """Compute a layer's dense work."""

    def expert(self, weights: Any) -> None:
        """Compute an expert [3, ffn, hidden] for one token."""


class CpuMachine:
    """A file that is read past the page cache, memory, and numpy (on one thread: ``threadpool_limits``)."""

    def __init__(self, fd: int, shape: Shape, n_layers: int, n_experts: int) -> None:
        self.shape, self.places = shape, n_experts
        self.move: Callable[[int, Read], None] = file_move(fd)
        rng = np.random.default_rng(0)
        hidden = shape.hidden
        matrices = rng.standard_normal((n_layers, DENSE_MATRICES, hidden, hidden), dtype=np.float32)
        self.matrices = matrices / np.float32(hidden**0.5)
        self.x: Floats = rng.standard_normal((hidden, 1), dtype=np.float32)

    def memory(self, n_slots: int) -> Memory:
        """Return memory that O_DIRECT can read into."""
        shape, size = self.shape, self.shape.expert_bytes
        memory = read_memory(size * n_slots)
        weights = np.frombuffer(memory, dtype=np.float32).reshape(n_slots, 3, shape.ffn, shape.hidden)
        weights[:] = 1 / shape.hidden
        return Memory([memory[i * size : (i + 1) * size] for i in range(n_slots)], weights)

    def dense(self, layer: int) -> None:
        """Compute a layer's dense work."""
        self.x = dense_layer(self.matrices[layer], self.x)

    def expert(self, weights: Any) -> None:
        """Compute an expert for one token."""
        swiglu(weights, self.x)
