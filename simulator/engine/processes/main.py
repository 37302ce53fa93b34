"""The main unit: a process that runs the request stream, pass by pass (docs/timing.md §3, §4, §11)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol

from simulator.engine.demand import Launches, Pass, Record
from simulator.engine.plan import RuntimePlan, move_ns
from simulator.engine.processes import clock as order
from simulator.engine.processes.clock import Clock, Process, Signal
from simulator.engine.processes.event import Events, Step
from simulator.engine.processes.experts import Experts
from simulator.engine.processes.helper import OPERATIONS, Computation, Group, Helper
from simulator.engine.processes.host import Host
from simulator.engine.processes.links import Link


class Costs(Protocol):
    """What experts cost; in the words of the passes."""

    activation_bytes: int

    def expert_ns(self, layer: int, version: int, tokens: int) -> int:
        """Return the time of an expert on the main unit."""

    def cpu_expert_ns(self, layer: int, version: int, tokens: int) -> int:
        """Return the time of an expert on the CPU helper, alone."""


class Main:
    """Plays passes: dense work, demand events, experts, combines; with a label for every nanosecond."""

    def __init__(
        self, clock: Clock, runtime: RuntimePlan, links: Sequence[Link], helper: Helper, events: Events,
        costs: Costs,
    ) -> None:  # fmt: skip
        self.clock, self.runtime, self.links, self.helper, self.events = clock, runtime, links, helper, events
        self.speculation, self.exclusive, self.costs = events.speculation, events.exclusive, costs
        self.carrier = self.speculation.carrier
        self.top, self.below = self.carrier.top, self.carrier.host
        self.host = Host(runtime.host)
        self.launches: Launches | None = None
        self.record = Record(0)
        self.groups: list[Group] = []
        self.news: Signal | None = None
        self.decided: Callable[[Step], None] = lambda _step: None
        self.spent: Callable[[str, int, int, int, int | None], None] = lambda *_: None
        self.stalls = {f"stall_{link.plan.name}": i for i, link in enumerate(links)}

    @property
    def now(self) -> int:
        """The present nanosecond."""
        return int(self.clock.now)

    # -- a pass (§3) ------------------------------------------------------------------------------

    def play(self, p: Pass) -> Process:
        """Play one pass, and fill its record (§3)."""
        record = self.record = Record(self.now, stall_ns=[0] * len(self.links))
        busy = [link.busy_ns() for link in self.links]
        busy_cpu = self.helper.busy_ns()
        self.launches = p.costs.launches
        self.groups = []
        self.host.synchronise(self.now)
        yield from self.spend(self.runtime.overhead.pass_ns, "overhead")
        yield from self._dense("prologue_ns", -1, p.costs.prologue_ns)
        for layer in range(len(p.demands)):
            yield from self._layer(p, layer)
        yield from self._dense("epilogue_ns", -1, p.costs.epilogue_ns)
        record.end_ns = self.now
        record.busy_ns = [link.busy_ns() - before for link, before in zip(self.links, busy, strict=True)]
        record.busy_cpu_ns = self.helper.busy_ns() - busy_cpu

    # -- a layer step (§4) --------------------------------------------------------------------------

    def _layer(self, p: Pass, layer: int) -> Process:
        """Do a layer step: before, the demand event, after, the experts, combine (§4)."""
        costs = p.costs
        yield from self._dense("before_ns", layer, costs.before_ns[layer])
        if not len(p.demands[layer]):
            yield from self._dense("after_ns", layer, costs.after_ns[layer])
            yield from self._combine(layer, costs.combine_ns[layer])
            return
        if self.launches is not None and self.launches.seen[layer]:
            yield from self.until(self.host.see_routing(self.now), "host", layer)
        step = self.events.decide(p.event(layer), self.record)
        self.decided(step)
        experts = Experts(self, step)
        beside = self.runtime.overhead.when == "beside"
        if not beside:
            yield from self.spend(self._overhead_ns(step), "overhead", layer)
        yield from self.call(self._books_ns(step), layer)
        yield from self._queue(step, experts, len(p.demands) - 1)
        if beside:
            yield from self.spend(self._overhead_ns(step), "overhead", layer)
        yield from self._dense("after_ns", layer, costs.after_ns[layer])
        yield from experts.compute()
        yield from self._combine(layer, costs.combine_ns[layer])
        for key in step.tokens:
            self.top.unpin(key)

    def _overhead_ns(self, step: Step) -> int:
        """Return what the runtime's own work for an event takes (§4.6)."""
        overhead = self.runtime.overhead
        loaded = sum(self.top.size_of(key) for key in step.fetched)
        return (
            overhead.miss_ns * len(step.fetched)
            + move_ns(loaded, overhead.load_bytes_per_s)
            + move_ns(step.evicted_bytes, overhead.evict_bytes_per_s)
        )

    def _books_ns(self, step: Step) -> int:
        """Return what the host's books of an event take (§11, "Books")."""
        plan = self.host.plan
        misses = len(step.fetched) + len(step.cpu)
        return plan.lookup_ns * len(step.event.keys) + plan.miss_ns * misses + plan.evict_ns * step.evictions

    def _queue(self, step: Step, experts: Experts, last_layer: int) -> Process:
        """Queue what the event decided, in the order of §4.7, as the host's calls end (§11)."""
        for back in step.write_backs:
            assert self.exclusive is not None
            self.exclusive.queue(back)
        if step.cpu:
            yield from self.call(self.host.plan.activations_ns, step.event.layer)
            self._send_group(step, last_layer)
        yield from experts.queue()
        for wish in step.wishes:
            if self.speculation.wanted(wish.key, step.tokens):
                yield from self.call(self.host.plan.copy_ns, step.event.layer)
                self.speculation.queue(wish.key, step.event.index + wish.layer)

    def _combine(self, layer: int, ns: int) -> Process:
        """Wait for the CPU groups that are due, then combine (§4)."""
        start = self.now
        while any(group.due <= layer and not group.done for group in self.groups):
            yield from self.hear_news("cpu_wait", layer)
        if self.now > start:
            self.host.waited(self.now, blocks=True)
        self.groups = [group for group in self.groups if not group.done]
        yield from self._dense("combine_ns", layer, ns)

    # -- a CPU group (§9) ---------------------------------------------------------------------------

    def _send_group(self, step: Step, last_layer: int) -> None:
        """Send a step's CPU group on its way: activations, computations, outputs (§9)."""
        layer = step.event.layer
        group = Group(min(layer + min(defer for _, defer in step.cpu), last_layer))
        self.groups.append(group)
        n_bytes = self.costs.activation_bytes * sum(step.tokens[key] for key, _ in step.cpu)

        def done() -> None:
            group.done = True
            self.tell()

        def outputs() -> None:
            self.carrier.send(-1, n_bytes, self.carrier.up, done)

        def computed(key: int, last: int) -> None:
            if self.below is not None:
                self.below.unpin(key)
            if key == last:
                outputs()

        def arrived() -> None:
            if self.host.plan.group_ns:
                self.helper.queue.put(Computation(OPERATIONS, self.host.plan.group_ns, 0, lambda: None))
            for key, _ in step.cpu:
                version = key % self.top.n_versions
                ns = self.costs.cpu_expert_ns(layer, version, step.tokens[key])
                ended = partial(computed, key, step.cpu[-1][0])
                self.helper.queue.put(Computation(key, ns, self.top.size_of(key), ended))

        self.carrier.send(-1, n_bytes, self.carrier.down, arrived)

    # -- time (§10, §11) ----------------------------------------------------------------------------

    def _dense(self, item: str, layer: int, ns: int) -> Process:
        """Come to an item of dense work: the host has issued it, then it runs (§11, "Issue")."""
        yield from self.until(self.host.issue(self.launches, item, layer=layer), "host", layer)
        yield from self.spend(ns, "dense", layer)

    def call(self, ns: int, layer: int = -1) -> Process:
        """Wait for calls of the host, or its books (§11)."""
        yield from self.until(self.host.call(self.now, ns), "host", layer)

    def until(self, at_ns: int, label: str, layer: int = -1) -> Process:
        """Wait until a time, if it has not come."""
        yield from self.spend(max(0, at_ns - self.now), label, layer)

    def spend(self, ns: int, label: str, layer: int = -1, key: int | None = None) -> Process:
        """Let ``ns`` pass under a label (§10)."""
        if ns:
            start = self.now
            yield self.clock.pause(ns, order.MAIN)
            self._note(label, start, layer, key)

    def hear_news(self, label: str, layer: int, key: int | None = None) -> Process:
        """Wait until something has landed or was computed."""
        start = self.now
        self.news = Signal(self.clock, order.MAIN)
        yield self.news
        self._note(label, start, layer, key)

    def tell(self) -> None:
        """Tell the main unit, if it waits, that something has landed or was computed."""
        if self.news is not None:
            self.news.send()
            self.news = None

    def _note(self, label: str, start: int, layer: int, key: int | None) -> None:
        ns = self.now - start
        if (link := self.stalls.get(label)) is not None:
            self.record.stall_ns[link] += ns
        else:
            setattr(self.record, f"{label}_ns", getattr(self.record, f"{label}_ns") + ns)
        if ns:
            self.spent(label, start, self.now, layer, key)


def stream(
    main: Main, passes: Iterable[Pass], begins: Callable[[Pass], None], ended: Callable[[Pass, Record], None]
) -> Process:
    """Play the request stream: passes follow each other without a gap (§3)."""
    for p in passes:
        begins(p)
        yield from main.play(p)
        ended(p, main.record)
