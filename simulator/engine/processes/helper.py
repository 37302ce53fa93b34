"""The CPU helper: computes the experts that are placed on the CPU (docs/timing.md §9, §11)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import simpy

from simulator.engine.plan import NS_PER_S
from simulator.engine.processes import clock as order
from simulator.engine.processes.clock import Clock, Process
from simulator.engine.processes.rates import Flow, Rates

OPERATIONS = -1
"""Stands for the operations that a group begins with, where a key is asked for."""


@dataclass(slots=True)
class Computation:
    """One job of the helper: alone it takes ``alone_ns`` and reads ``n_bytes``."""

    key: int
    alone_ns: int
    n_bytes: int
    ended: Callable[[], None]


@dataclass(slots=True)
class Group:
    """The CPU-placed experts of one step; ``due`` is the layer whose combine needs them."""

    due: int
    done: bool = False


class Helper:
    """A process that takes computations from a SimPy store, one at a time."""

    def __init__(self, clock: Clock, rates: Rates) -> None:
        self.clock = clock
        self.queue = simpy.Store(clock)
        self.flow = rates.helper = Flow(clock, order.HELPER, rates.anew.ask)
        self.busy_before_ns = 0
        self.since_ns = 0
        self.computed: Callable[[int, int, int], None] = lambda _key, _start, _end: None
        clock.begin(self._life())

    def _life(self) -> Process:
        while True:
            job = yield self.queue.get()
            yield from self._compute(job)

    def _compute(self, job: Computation) -> Process:
        """Compute until the granted rates have summed up to the work (§9)."""
        flow, start = self.flow, int(self.clock.now)
        self.since_ns = start
        flow.ask = max(1, job.n_bytes * NS_PER_S // job.alone_ns)
        flow.start(0)
        yield flow.reach(job.alone_ns * flow.ask)
        flow.stop()
        now = int(self.clock.now)
        self.busy_before_ns += now - start
        self.computed(job.key, start, now)
        job.ended()

    def busy_ns(self) -> int:
        """Return for how long it has computed, up to now (§10)."""
        return self.busy_before_ns + (int(self.clock.now) - self.since_ns if self.flow.moving else 0)
