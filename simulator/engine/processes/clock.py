"""The clock: which of the things of one nanosecond comes first, on SimPy's calendar (docs/timing.md §1)."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import simpy

LANES = 2
"""Priority of the first lane of the first link; SimPy has taken 0 and 1. Each lane has the next one."""
HELPER = 1_000_000
MAIN = 1_000_001
PICKS = 1_000_002
RATES = 1_000_003

Process = Generator[simpy.Event, Any, None]


class Signal(simpy.Event):
    """An event of a given priority: who waits for it goes on in its place in the nanosecond."""

    __slots__ = ("priority",)

    def __init__(self, clock: Clock, priority: int) -> None:
        super().__init__(clock)
        self.priority = priority

    def send(self, delay_ns: int = 0) -> Signal:
        """Trigger it, now or later."""
        self._ok, self._value = True, None
        self.env.schedule(self, self.priority, delay_ns)  # type: ignore[arg-type]  # any int is a priority
        return self


class Clock(simpy.Environment):
    """SimPy's calendar, in whole nanoseconds."""

    def pause(self, ns: int, priority: int) -> Signal:
        """Return an event that happens after ``ns``, in its place among those of that nanosecond (§1)."""
        return Signal(self, priority).send(ns)

    def begin(self, process: Process) -> simpy.Process:
        """Start a process whose failure ends the run as it is, and not as SimPy makes it anew."""
        begun = self.process(process)
        begun.callbacks.append(_fail)
        return begun


def _fail(process: simpy.Event) -> None:
    if isinstance(process.value, BaseException):
        raise process.value


class Once:
    """Something that is done once in each nanosecond in which somebody asks for it (§1)."""

    def __init__(self, clock: Clock, priority: int, what: Callable[[], None]) -> None:
        self.clock, self.priority, self.what = clock, priority, what
        self.asked = False

    def ask(self) -> None:
        """Have it done in this nanosecond, in its place."""
        if not self.asked:
            self.asked = True
            self.clock.pause(0, self.priority).callbacks.append(self._do)

    def _do(self, _: simpy.Event) -> None:
        self.what()
        self.asked = False


class Alarm:
    """A timeout that can be moved, which SimPy's own cannot; who waits for it yields ``wait()``."""

    def __init__(self, clock: Clock, priority: int) -> None:
        self.clock, self.priority = clock, priority
        self.tick: Signal | None = None
        self.at_ns = -1
        self.rung = Signal(clock, priority)

    def wait(self) -> Signal:
        """Return the event that happens when the alarm goes off."""
        self.rung = Signal(self.clock, self.priority)
        return self.rung

    def set(self, at_ns: int) -> None:
        """Have it go off at ``at_ns``, and not when it was to go off before."""
        if self.tick is None or at_ns != self.at_ns:
            self.at_ns = at_ns
            self.tick = self.clock.pause(at_ns - int(self.clock.now), self.priority)
            self.tick.callbacks.append(self._ring)

    def off(self) -> None:
        """Have it not go off."""
        self.tick = None

    def _ring(self, tick: simpy.Event) -> None:
        if tick is self.tick:
            self.tick = None
            self.rung.send()
