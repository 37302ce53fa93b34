"""The player: walks a pass on the main unit, layer step by layer step (docs/timing.md §3 and §4)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from policies.base import Event, Wish
from simulator.engine import checked
from simulator.engine.decide import Decider, Decision
from simulator.engine.demand import Pass, Record
from simulator.engine.fabric import Fabric
from simulator.engine.helper import NOBODY, Group
from simulator.engine.host import Host
from simulator.engine.jobs import Transfer
from simulator.engine.link import Link
from simulator.engine.loader import Load, Loader
from simulator.engine.observe import Observer
from simulator.engine.plan import RuntimePlan, move_ns


class ExpertCosts(Protocol):
    """What an expert costs, by layer, version and tokens; ``activation_bytes`` is per token and way."""

    activation_bytes: int

    def expert_ns(self, layer: int, version: int, tokens: int) -> int:
        """Return the time on the main unit."""

    def cpu_expert_ns(self, layer: int, version: int, tokens: int) -> int:
        """Return the time on the CPU helper, alone."""


class Step:
    """What one layer step waits for; ``ready`` has, by stage, the experts in order of landing."""

    __slots__ = ("awaited", "flights", "held_back", "loads", "order", "ready", "stages", "streamed")

    def __init__(self, stages: int) -> None:
        self.stages = stages
        self.ready: list[deque[int]] = [deque() for _ in range(stages)]
        self.loads: dict[int, Load] = {}
        self.flights: dict[int, Transfer] = {}
        self.awaited: dict[Transfer, int] = {}
        self.order: list[int] = []
        self.streamed: set[int] = set()
        self.held_back: deque[int] = deque()


class Player:
    """Plays passes one after another; ``now`` is the main unit's time."""

    def __init__(
        self,
        fabric: Fabric,
        loader: Loader,
        decider: Decider,
        costs: ExpertCosts,
        runtime: RuntimePlan,
        n_versions: int,
    ) -> None:
        self.now = 0
        self.fabric = fabric
        self.loader = loader
        self.top = loader.top
        self.decider = decider
        self.costs = costs
        self.runtime = runtime
        self.host = Host(runtime.host)
        self.n_versions = n_versions
        self.keys_per_layer = loader.top.keys_per_layer
        self.prefetch = decider.policies.prefetch
        self.watch: Callable[[Event, Decision], None] | None = None
        self.observer: Observer | None = None
        self.layer = -1
        self.groups: list[Group] = []
        self.step: Step | None = None
        loader.arrived = self._arrived
        fabric.helper.computed = self._computed

    def play(self, p: Pass) -> Record:
        """Play one pass from ``now``; return its record and leave ``now`` at its end."""
        links, helper = self.fabric.links, self.fabric.helper
        record = Record(
            self.now,
            stall_ns=[0] * len(links),
            busy_ns=[-link.busy_until(self.now) for link in links],
            busy_cpu_ns=-helper.busy_until(self.now),
        )
        costs = p.costs
        self.host.start(self.now, costs.launches)
        self._busy(record, "overhead_ns", self.runtime.overhead.pass_ns)
        self._dense(record, costs.prologue_ns, "prologue_ns")
        for layer, keys in enumerate(p.demands):
            self.layer = layer
            self._dense(record, costs.before_ns[layer], "before_ns")
            pinned: list[int] = []
            if keys:
                pinned = self._step(p, layer, record)
            else:
                self._dense(record, costs.after_ns[layer], "after_ns")
            self._combine(layer, len(p.demands), record)
            self._dense(record, costs.combine_ns[layer], "combine_ns")
            if pinned:
                self.fabric.advance(self.now)
                for key in pinned:
                    self.top.unpin(key)
        self.layer = -1
        self._dense(record, costs.epilogue_ns, "epilogue_ns")
        self.fabric.advance(self.now)
        record.end_ns = self.now
        for i, link in enumerate(links):
            record.busy_ns[i] += link.busy_until(self.now)
        record.busy_cpu_ns += helper.busy_until(self.now)
        if self.observer is not None:
            self.observer.passed(p, record)
        return record

    def _busy(self, record: Record, label: str, ns: int, key: int | None = None) -> None:
        if ns:
            start = self.now
            self.now += ns
            setattr(record, label, getattr(record, label) + ns)
            if self.observer is not None:
                self.observer.computed(label.removesuffix("_ns"), start, self.now, self.layer, key)

    def _dense(self, record: Record, ns: int, item: str) -> None:
        """Do a dense item, once the host has issued it."""
        if self.host.launches is not None:
            self._await_host(record, self.host.issued(self.host.launches.of(item, self.layer)))
        self._busy(record, "dense_ns", ns)

    def _await_host(self, record: Record, until: int) -> None:
        if until > self.now:
            self._busy(record, "host_ns", until - self.now)

    def _call(self, record: Record, ns: int) -> None:
        """Have the host make calls, and follow the fabric to their end."""
        if ns:
            self._await_host(record, self.host.called(self.now, ns))
            self.fabric.advance(self.now)

    def _wait(self, label: str, key: int | None = None) -> int:
        """Follow the fabric to its present time; return how long that was."""
        start, self.now = self.now, self.fabric.now
        if self.observer is not None and self.now > start:
            self.observer.computed(label, start, self.now, self.layer, key)
        return self.now - start

    # -- one layer step ---------------------------------------------------------------------------

    def _step(self, p: Pass, layer: int, record: Record) -> list[int]:
        host = self.host
        if host.sees(layer):
            host.waited(self.now)
            self._await_host(record, host.issued(host.plan.round_trip_ns))
        self.fabric.advance(self.now)
        event = p.event(layer)
        decision = self.decider.decide(event, record)
        if self.watch is not None:
            self.watch(event, decision)
        wishes = checked.wishes(self.prefetch, event, self.top.residents, len(p.demands), self.keys_per_layer)
        if self.prefetch.shields:
            shields = self.loader.speculation.shields
            for wish in wishes:
                shields[wish.key] = max(event.index + wish.layer, shields.get(wish.key, 0))
        step = self._prepare(decision)
        overhead = self._overhead(decision)
        if self.runtime.overhead.when == "before":
            self._busy(record, "overhead_ns", overhead)
            self.fabric.advance(self.now)
        self._call(record, host.books(decision))
        self.loader.queue_write_backs()
        self._send_to_cpu(event, decision, len(p.demands), record)
        self._queue([step.loads[key] for key in decision.fetch if key not in step.held_back], record)
        self._queue_wishes(event, decision, wishes, record)
        if self.runtime.overhead.when == "beside":
            self._busy(record, "overhead_ns", overhead)
        self._dense(record, p.costs.after_ns[layer], "after_ns")
        self._compute(decision, step, record)
        self.step = None
        return decision.pinned

    def _prepare(self, decision: Decision) -> Step:
        """Make the step's transfers, and note what has to arrive for it."""
        runtime = self.runtime
        streamed = [key for key in decision.fetch if key not in decision.kept]
        buffers = max(1, runtime.staging_buffers)
        by_matrix = runtime.parts_order == "matrix" and len(streamed) <= buffers
        step = self.step = Step(runtime.n_parts(decision.event.layer) if by_matrix else 1)
        step.streamed = set(streamed)
        step.held_back = deque(streamed[buffers:])
        for key in decision.fetch:
            step.loads[key] = load = self.loader.fetch(
                key, kept=key in decision.kept, into_host=key in decision.into_host
            )
            step.flights[key] = load.transfer
        for key in decision.late:
            transfer = self.top.pool(key).flying[key]
            assert isinstance(transfer, Transfer)
            step.flights[key] = transfer
        step.order = [key for key in decision.pinned if key in step.flights]
        for key in step.order:
            step.awaited[step.flights[key]] = key
        if step.stages > 1:  # stages of late experts that landed before
            for stage, ready in enumerate(step.ready):
                there = [key for key in decision.late if step.flights[key].pieces[stage] == 0]
                ready.extend(sorted(there, key=lambda key: step.flights[key].landed_as[stage]))
        return step

    def _overhead(self, decision: Decision) -> int:
        o = self.runtime.overhead
        loaded = sum(self.top.size_of(key) for key in decision.fetch)
        return (
            o.miss_ns * len(decision.fetch)
            + move_ns(loaded, o.load_bytes_per_s)
            + move_ns(decision.evicted_bytes, o.evict_bytes_per_s)
        )

    def _queue(self, loads: Sequence[Load], record: Record) -> None:
        """Queue demand transfers as their calls end: one after another, or by matrix all together."""
        copy_ns = self.host.plan.copy_ns
        if copy_ns == 0 or self.runtime.parts_order == "matrix":
            self._call(record, copy_ns * len(loads))
            self.loader.queue(loads)
            return
        for load in loads:
            self._call(record, copy_ns)
            self.loader.queue([load])

    def _queue_wishes(self, event: Event, decision: Decision, wishes: Sequence[Wish], record: Record) -> None:
        demanded = set(decision.pinned)
        speculation = self.loader.speculation
        for wish in wishes:
            if wish.key not in demanded and speculation.lacks(wish.key):
                self._call(record, self.host.plan.copy_ns)
                speculation.prefetch(wish.key, event.index + wish.layer)

    # -- experts on the main unit -----------------------------------------------------------------

    def _arrived(self, transfer: Transfer, stage: int) -> None:
        step = self.step
        if step is None or transfer not in step.awaited:
            return
        if step.stages > 1:
            step.ready[stage].append(step.awaited[transfer])
        elif not any(transfer.pieces):
            step.ready[0].append(step.awaited[transfer])

    def _compute(self, decision: Decision, step: Step, record: Record) -> None:
        layer, n = decision.event.layer, self.n_versions
        ns: dict[int, Sequence[int]] = {}  # by stage
        for key, tokens in decision.serve.items():
            whole = self.costs.expert_ns(layer, key % n, tokens)
            ns[key] = self.runtime.part_ns(layer, key % n, whole) if step.stages > 1 else (whole,)
        by_layer, in_order = self.runtime.overlap == "layer", self.runtime.overlap == "in_order"
        launches = self.host.launches
        start_ns, issue_ns = (
            (launches.experts_start_ns[layer], launches.experts_ns[layer]) if launches else (0, 0)
        )
        for stage in range(step.stages):
            hits, ready, pending = deque(decision.hits), step.ready[stage], set(step.order)
            batch: deque[int] = deque()  # what runs without waiting
            while hits or batch or pending:
                if not batch:
                    self.fabric.advance(self.now)
                    awaited: set[int] = set()
                    if in_order:
                        turn = min(pending.difference(step.held_back).union(hits))
                        if turn not in hits and turn not in ready:
                            awaited = {turn}
                    elif by_layer or not (hits or ready):
                        awaited = pending.difference(ready, step.held_back)
                    if awaited:
                        self._idle(step, stage, awaited, record)
                        continue
                    if in_order:
                        (hits if turn in hits else ready).remove(turn)
                        batch.append(turn)
                    elif by_layer or hits:
                        batch.extend(hits)
                        hits.clear()
                        if by_layer:
                            batch.extend(ready)
                            ready.clear()
                    else:
                        batch.append(ready.popleft())
                key = batch.popleft()
                pending.discard(key)
                if launches and stage == 0:
                    self._await_host(record, self.host.issued(issue_ns + launches.expert_ns[layer]))
                self._busy(record, "expert_ns", start_ns + ns[key][stage], key)
                start_ns = issue_ns = 0
                if stage == step.stages - 1 and key in step.streamed and step.held_back:
                    self.fabric.advance(self.now)
                    self._queue([step.loads[step.held_back.popleft()]], record)

    def _idle(self, step: Step, stage: int, awaited: set[int], record: Record) -> None:
        """Let time pass to the next completion: a stall on the link that the first awaited expert is on."""
        first = next(key for key in step.order if key in awaited)
        link = step.flights[first].link_on(stage if step.stages > 1 else None)
        if not self.fabric.step():
            msg = f"nothing moves, yet expert {first} is awaited at {self.now} ns"
            raise RuntimeError(msg)
        waited = self._wait(f"stall_{link.plan.name}", first)
        record.stall_ns[self.fabric.links.index(link)] += waited
        if self.host.plan.blocking:
            self.host.waited(self.now)

    # -- experts on the CPU -----------------------------------------------------------------------

    def _send_to_cpu(self, event: Event, decision: Decision, n_layers: int, record: Record) -> None:
        if not decision.cpu:
            return
        self._call(record, self.host.plan.activations_ns)
        work = [
            (
                key,
                max(1, self.costs.cpu_expert_ns(event.layer, key % self.n_versions, tokens)),
                self.top.size_of(key),
            )
            for key, tokens, _ in decision.cpu
        ]
        if self.host.plan.group_ns:
            work.insert(0, (NOBODY, self.host.plan.group_ns, 0))
        defer = min(defer for _, _, defer in decision.cpu)
        n_bytes = self.costs.activation_bytes * sum(tokens for _, tokens, _ in decision.cpu)
        group = Group(work, n_bytes, min(event.layer + defer, n_layers - 1))
        self.groups.append(group)
        self._carry(self.loader.down, n_bytes, lambda: self.fabric.helper.add(group, self.fabric.now))

    def _computed(self, group: Group, key: int) -> None:
        """An expert was computed on the CPU; after the last one of its group the outputs go back."""
        if self.loader.host is not None and key != NOBODY:
            self.loader.host.unpin(key)
        if group.todo == 0:
            self._carry(self.loader.up, group.n_bytes, lambda: setattr(group, "done", True))

    def _carry(self, link: Link | None, n_bytes: int, landed: Callable[[], None]) -> None:
        """Send activations over a link as one demand job; none take no time."""
        assert link is not None
        if n_bytes == 0:
            landed()
            return
        transfer = Transfer(-1, (link,), demand=True, landed=lambda _transfer, _stage: landed())
        for job in self.loader.jobs(transfer, n_bytes, single=True):
            link.queue(job)

    def _combine(self, layer: int, n_layers: int, record: Record) -> None:
        """Wait for the CPU groups that are due at this layer."""
        due = [group for group in self.groups if group.due <= layer]
        if not due:
            return
        self.fabric.advance(self.now)
        while not all(group.done for group in due):
            self.fabric.step()
            record.cpu_wait_ns += self._wait("cpu_wait")
            self.host.waited(self.now)
        self.groups = [group for group in self.groups if not group.done]
