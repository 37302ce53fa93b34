"""A small offloading engine that is real: experts on the drive, an LRU cache in memory, numpy to compute.

It does what docs/timing.md describes, with two tiers, one token a pass, ``overlap: expert``,
``preemption: none`` and ``cancel: queued``: so the simulator's time can be held against the clock's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from simulator.calibrate.expert import Floats, swiglu
from simulator.calibrate.pages import read_memory
from simulator.calibrate.readers import Read, Readers
from simulator.trace.core import Trace
from simulator.validate.reference_cache import ExpertCache

DENSE_MATRICES = 4
"""Square matrices of a layer's dense work: as many products as an attention block is charged for."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the stand-in model: float32 experts of 3 matrices hidden x ffn."""

    hidden: int
    ffn: int

    @property
    def expert_bytes(self) -> int:
        """Return the bytes of an expert."""
        return 3 * self.hidden * self.ffn * 4

    @property
    def dense_bytes(self) -> int:
        """Return the bytes of a layer's dense matrices."""
        return DENSE_MATRICES * self.hidden * self.hidden * 4


@dataclass(frozen=True, slots=True)
class Settings:
    """One run: slots of the cache, reader threads, and whether recorded predictions are prefetched."""

    slots: int
    lanes: int
    prefetch: bool


@dataclass(slots=True)
class TokenLog:
    """What one token took, in ns by label, and what was found; ``overhead_ns`` is the rest of ``wall_ns``."""

    wall_ns: int = 0
    dense_ns: int = 0
    expert_ns: int = 0
    stall_ns: int = 0
    lookups: int = 0
    hits: int = 0
    late: int = 0
    bytes: int = 0

    @property
    def overhead_ns(self) -> int:
        """Return what the labels leave."""
        return self.wall_ns - self.dense_ns - self.expert_ns - self.stall_ns


LOGGED = tuple(field.name for field in fields(TokenLog))


@dataclass(frozen=True, slots=True)
class Memory:
    """Slots of memory that O_DIRECT can read into, as bytes and as weights [slot, 3, ffn, hidden]."""

    slots: list[memoryview]
    weights: npt.NDArray[np.float32]


class ReferenceRun:
    """Runs tokens of a trace; ``fd`` None reads nothing, which leaves the engine's own cost.

    Expert ``key`` lies in the file at ``key * expert_bytes``. The trace has one decoded token a pass.
    """

    def __init__(
        self, trace: Trace, shape: Shape, settings: Settings, fd: int | None, memory: Memory
    ) -> None:
        self.trace, self.shape, self.fd, self.memory = trace, shape, fd, memory
        self.n_experts, self.n_layers = trace.header.n_experts, trace.header.n_layers
        self.cache = ExpertCache(settings.slots)
        self.settings = settings
        self.prefetched_bytes = 0
        rng = np.random.default_rng(0)
        hidden = shape.hidden
        matrices = rng.standard_normal((self.n_layers, DENSE_MATRICES, hidden, hidden), dtype=np.float32)
        self.dense = matrices / np.float32(hidden**0.5)
        self.x: Floats = rng.standard_normal((hidden, 1), dtype=np.float32)

    def run(self, between: Callable[[int], None] = lambda _: None) -> list[TokenLog]:
        """Run every token of the trace; return their logs.

        ``between`` is called before each, off the clock.
        """
        logs = []
        with threadpool_limits(1), Readers(self.fd, self.settings.lanes, self._begin) as self.readers:
            for token, layers in enumerate(self.trace.experts.tolist()):
                between(token)
                logs.append(self._token(token, layers))
        return logs

    def _begin(self, key: int) -> memoryview | None:
        """Reserve space for a prefetch that is about to start; a reader thread asks, and holds the lock."""
        slot = self.cache.take(key, spare=True)
        if slot is None:
            return None
        self.prefetched_bytes += self.shape.expert_bytes
        return self.memory.slots[slot]

    def _token(self, token: int, layers: Sequence[Sequence[int]]) -> TokenLog:
        log = TokenLog()
        before = self.prefetched_bytes
        start = time.perf_counter_ns()
        for layer, experts in enumerate(layers):
            began = time.perf_counter_ns()
            self._dense(layer)
            log.dense_ns += time.perf_counter_ns() - began
            keys = [layer * self.n_experts + expert for expert in experts]
            ready, awaited = self._demand(token, layer, keys, log)
            self._compute(ready, awaited, log)
            self.cache.pinned = frozenset()
        log.wall_ns = time.perf_counter_ns() - start
        log.bytes += self.prefetched_bytes - before
        return log

    def _dense(self, layer: int) -> None:
        x = self.x
        for matrix in self.dense[layer]:
            x = matrix @ x
        self.x = x / np.float32(np.abs(x).max())

    def _demand(self, token: int, layer: int, keys: list[int], log: TokenLog) -> tuple[list[int], set[int]]:
        """Look the experts up and ask for what is missing; return who is there and who is waited for."""
        cache, readers = self.cache, self.readers
        event = token * self.n_layers + layer
        with readers.lock:
            cache.flying.difference_update(readers.poll())
            readers.speculative.clear()
            for key in [key for key, last in cache.shields.items() if last <= event]:
                del cache.shields[key]
            there = [key for key in keys if key in cache.slot]
            missing = [key for key in keys if key not in cache.slot]
            awaited = {key for key in there if key in cache.flying}
            cache.pinned = frozenset(keys)
            reads = self._claim(keys, missing)
            readers.demand.extend(reads)
            if self.settings.prefetch:
                readers.speculative.extend(self._wishes(token, layer, event))
            if reads or readers.speculative:
                readers.lock.notify(len(reads) + len(readers.speculative))
        log.lookups += len(keys)
        log.late += len(awaited)
        log.hits += len(there) - len(awaited)
        log.bytes += len(reads) * self.shape.expert_bytes
        return [key for key in there if key not in awaited], awaited.union(missing)

    def _claim(self, keys: list[int], missing: list[int]) -> list[Read]:
        """Give the missing experts their slots, in the order of use; return their reads."""
        reads = []
        for key in missing:
            slot = self.cache.take(key, spare=False)
            assert slot is not None, "the cache holds a step's experts and what is in flight"
            reads.append(Read(key, key * self.shape.expert_bytes, self.memory.slots[slot]))
        self.cache.use(keys)  # in the order of the step, hit or missed
        return reads

    def _wishes(self, token: int, layer: int, event: int) -> Iterator[Read]:
        """Yield reads of what the next layer's gate said of this layer's input, likeliest first."""
        if layer + 1 == self.n_layers:
            return
        experts = self.trace.predicted[0][token, layer].tolist()
        weights = [1.0] * len(experts)
        if self.trace.predicted_weights:
            weights = self.trace.predicted_weights[0][token, layer].astype(float).tolist()
        for _, expert in sorted((-weight, e) for e, weight in zip(experts, weights, strict=True) if e >= 0):
            key = (layer + 1) * self.n_experts + expert
            self.cache.shields[key] = event + 1
            if key not in self.cache.slot:
                yield Read(key, key * self.shape.expert_bytes, None)

    def _compute(self, ready: list[int], awaited: set[int], log: TokenLog) -> None:
        """Compute what is there, then each expert as it lands."""
        for key in ready:
            self._expert(key, log)
        while awaited:
            began = time.perf_counter_ns()
            key = self.readers.wait()
            log.stall_ns += time.perf_counter_ns() - began
            with self.readers.lock:
                self.cache.flying.discard(key)
            if key in awaited:
                awaited.discard(key)
                self._expert(key, log)

    def _expert(self, key: int, log: TokenLog) -> None:
        began = time.perf_counter_ns()
        swiglu(self.memory.weights[self.cache.slot[key]], self.x)
        log.expert_ns += time.perf_counter_ns() - began


def expert_memory(shape: Shape, n_slots: int) -> Memory:
    """Return memory of ``n_slots`` experts."""
    size = shape.expert_bytes
    memory = read_memory(size * n_slots)
    weights = np.frombuffer(memory, dtype=np.float32).reshape(n_slots, 3, shape.ffn, shape.hidden)
    weights[:] = 1 / shape.hidden
    return Memory([memory[i * size : (i + 1) * size] for i in range(n_slots)], weights)
