"""A small offloading engine that is real: experts in slow memory, an LRU cache in fast, computed when there.

It does what docs/timing.md describes, with two tiers, one token a pass, ``overlap: expert``,
``preemption: none`` and ``cancel: queued``: so the simulator's time can be held against the clock's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

from threadpoolctl import threadpool_limits

from simulator.calibrate.readers import Move, Read, Readers
from simulator.trace.core import Trace
from simulator.validate.reference.cache import ExpertCache
from simulator.validate.reference.machine import Machine, Memory


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


class ReferenceRun:
    """Runs tokens of a trace, one decoded token a pass.

    ``dry`` moves nothing, which leaves the engine's own cost.
    """

    def __init__(
        self, trace: Trace, machine: Machine, settings: Settings, memory: Memory, *, dry: bool = False
    ) -> None:
        self.trace, self.machine, self.settings, self.memory = trace, machine, settings, memory
        self.n_experts, self.n_layers = trace.header.n_experts, trace.header.n_layers
        self.expert_bytes = machine.shape.expert_bytes
        self.move: Move = (lambda _lane, _read: None) if dry else machine.move
        self.cache = ExpertCache(settings.slots)
        self.prefetched_bytes = 0

    def run(self, between: Callable[[int], None] = lambda _: None) -> list[TokenLog]:
        """Run every token of the trace; return their logs.

        ``between`` is called before each, off the clock.
        """
        logs = []
        with threadpool_limits(1), Readers(self.move, self.settings.lanes, self._begin) as self.readers:
            for token, layers in enumerate(self.trace.experts.tolist()):
                between(token)
                logs.append(self._token(token, layers))
        return logs

    def _begin(self, key: int) -> Any:
        """Reserve space for a prefetch that is about to start; a reader thread asks, and holds the lock."""
        slot = self.cache.take(key, spare=True)
        if slot is None:
            return None
        self.prefetched_bytes += self.expert_bytes
        return self.memory.slots[slot]

    def _token(self, token: int, layers: Sequence[Sequence[int]]) -> TokenLog:
        log = TokenLog()
        before = self.prefetched_bytes
        start = time.perf_counter_ns()
        for layer, experts in enumerate(layers):
            began = time.perf_counter_ns()
            self.machine.dense(layer)
            log.dense_ns += time.perf_counter_ns() - began
            keys = [layer * self.n_experts + expert for expert in experts]
            ready, awaited = self._demand(token, layer, keys, log)
            self._compute(ready, awaited, log)
            self.cache.pinned = frozenset()
        log.wall_ns = time.perf_counter_ns() - start
        log.bytes += self.prefetched_bytes - before
        return log

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
        log.bytes += len(reads) * self.expert_bytes
        return [key for key in there if key not in awaited], awaited.union(missing)

    def _claim(self, keys: list[int], missing: list[int]) -> list[Read]:
        """Give the missing experts their slots, in the order of use; return their reads."""
        reads = []
        for key in missing:
            slot = self.cache.take(key, spare=False)
            assert slot is not None, "the cache holds a step's experts and what is in flight"
            reads.append(self._read(key, self.memory.slots[slot]))
        self.cache.use(keys)  # in the order of the step, hit or missed
        return reads

    def _read(self, key: int, buffer: Any) -> Read:
        return Read(key, key % self.machine.places * self.expert_bytes, buffer)

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
                yield self._read(key, None)

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
        self.machine.expert(self.memory.weights[self.cache.slot[key]])
        log.expert_ns += time.perf_counter_ns() - began
