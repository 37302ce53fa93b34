"""The player: walks a pass on the main unit, layer step by layer step (docs/timing.md §3 and §4)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from policies.base import Event, Wish
from simulator.engine.decide import Decider, Decision
from simulator.engine.demand import Pass, Record
from simulator.engine.fabric import Fabric
from simulator.engine.helper import Group
from simulator.engine.jobs import Transfer
from simulator.engine.link import Link
from simulator.engine.loader import Load, Loader
from simulator.engine.plan import RuntimePlan, move_ns


class ExpertCosts(Protocol):
    """What an expert costs, by layer, version and tokens; ``activation_bytes`` is per token and way."""

    activation_bytes: int

    def expert_ns(self, layer: int, version: int, tokens: int) -> int:
        """Return the time on the main unit."""

    def cpu_expert_ns(self, layer: int, version: int, tokens: int) -> int:
        """Return the time on the CPU helper, alone."""


class Step:
    """What one layer step waits for: its transfers, and by stage which experts are ready, in order of landing."""

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
        self, fabric: Fabric, loader: Loader, decider: Decider, costs: ExpertCosts, runtime: RuntimePlan, n_versions: int
    ) -> None:
        self.now = 0
        self.fabric = fabric
        self.loader = loader
        self.decider = decider
        self.costs = costs
        self.runtime = runtime
        self.n_versions = n_versions
        self.keys_per_layer = loader.top.keys_per_layer
        self.prefetch = decider.policies.prefetch
        self.watch: Callable[[Event, Decision], None] | None = None
        self.groups: list[Group] = []
        self.step: Step | None = None
        loader.arrived = self._arrived

    def play(self, p: Pass) -> Record:
        """Play one pass from ``now``; return its record and leave ``now`` at its end."""
        record = Record(self.now, stall_ns=[0] * len(self.fabric.links))
        costs = p.costs
        self._busy(record, "overhead_ns", self.runtime.overhead.pass_ns)
        self._busy(record, "dense_ns", costs.prologue_ns)
        for layer, keys in enumerate(p.demands):
            self._busy(record, "dense_ns", costs.before_ns[layer])
            pinned: list[int] = []
            if keys:
                pinned = self._step(p, layer, record)
            else:
                self._busy(record, "dense_ns", costs.after_ns[layer])
            self._combine(layer, len(p.demands), record)
            self._busy(record, "dense_ns", costs.combine_ns[layer])
            if pinned:
                self.fabric.advance(self.now)
                for key in pinned:
                    self.loader.top.unpin(key)
        self._busy(record, "dense_ns", costs.epilogue_ns)
        self.fabric.advance(self.now)
        record.end_ns = self.now
        return record

    def _busy(self, record: Record, label: str, ns: int) -> None:
        if ns:
            self.now += ns
            setattr(record, label, getattr(record, label) + ns)

    # -- one layer step ---------------------------------------------------------------------------

    def _step(self, p: Pass, layer: int, record: Record) -> list[int]:
        self.fabric.advance(self.now)
        event = p.event(layer)
        decision = self.decider.decide(event, record)
        if self.watch is not None:
            self.watch(event, decision)
        wishes = self.prefetch.wishes(event, self.loader.top.pool_of_layer[layer].landed)
        step = self._prepare(decision)
        overhead = self._overhead(decision)
        if self.runtime.overhead.when == "before":
            self._busy(record, "overhead_ns", overhead)
            self.fabric.advance(self.now)
        self.loader.queue_write_backs()
        self._send_to_cpu(event, decision, len(p.demands))
        self._send(step, [key for key in decision.fetch if key not in step.held_back])
        self._queue_wishes(event, decision, wishes)
        if self.runtime.overhead.when == "beside":
            self._busy(record, "overhead_ns", overhead)
        self._busy(record, "dense_ns", p.costs.after_ns[layer])
        self._compute(decision, step, record)
        self.step = None
        return decision.pinned

    def _prepare(self, decision: Decision) -> Step:
        """Make the step's transfers, and note what has to arrive for it."""
        runtime = self.runtime
        streamed = [key for key in decision.fetch if key not in decision.kept]
        buffers = max(1, runtime.staging_buffers)
        by_matrix = runtime.parts_order == "matrix" and runtime.parts > 1
        whole = by_matrix and len(streamed) > buffers
        step = self.step = Step(runtime.parts if by_matrix and not whole else 1)
        step.streamed = set(streamed)
        step.held_back = deque(streamed[buffers:])
        for key in decision.fetch:
            step.loads[key] = load = self.loader.fetch(
                key, kept=key in decision.kept, into_host=key in decision.into_host, whole=whole
            )
            step.flights[key] = load.transfer
        for key in decision.late:
            transfer = self.loader.top.pool(key).flying[key]
            assert isinstance(transfer, Transfer)
            step.flights[key] = transfer
        step.order = [key for key in decision.pinned if key in step.flights]
        for key in step.order:
            transfer = step.flights[key]
            step.awaited[transfer] = key
            if step.stages > 1:
                for stage, left in enumerate(transfer.pieces):
                    if left == 0:
                        step.ready[stage].append(key)
        return step

    def _overhead(self, decision: Decision) -> int:
        o = self.runtime.overhead
        loaded = sum(self.loader.top.size_of(key) for key in decision.fetch)
        return (
            o.miss_ns * len(decision.fetch)
            + move_ns(loaded, o.load_bytes_per_s)
            + move_ns(decision.evicted_bytes, o.evict_bytes_per_s)
        )

    def _send(self, step: Step, keys: Sequence[int]) -> None:
        """Queue demand transfers; one whose source is still being written down follows that."""
        now = []
        for key in keys:
            load = step.loads[key]
            if load.waits_for is not None and any(load.waits_for.pieces):
                load.waits_for.followers.append(partial(self.loader.queue, [load]))
            else:
                now.append(load)
        self.loader.queue(now)

    def _queue_wishes(self, event: Event, decision: Decision, wishes: Sequence[Wish]) -> None:
        demanded = set(decision.pinned)
        loads = []
        for wish in wishes:
            for_event = event.index + wish.layer
            if self.prefetch.shields:
                self.loader.shields[wish.key] = max(for_event, self.loader.shields.get(wish.key, 0))
            if wish.key not in demanded:
                load = self.loader.prefetch(wish.key, for_event)
                if load is not None:
                    loads.append(load)
        self.loader.queue(loads)

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
        ns = {key: self.costs.expert_ns(layer, key % n, tokens) for key, tokens in decision.serve.items()}
        for stage in range(step.stages):
            hits, ready = deque(decision.hits), step.ready[stage]
            pending = set(step.order)
            if self.runtime.overlap == "layer":
                self.fabric.advance(self.now)
                while len(ready) < len(step.order) - len(step.held_back):
                    self._idle(step, stage, pending.difference(ready), record)
            while hits or pending:
                self.fabric.advance(self.now)
                if hits:
                    key = hits.popleft()
                elif ready:
                    key = ready.popleft()
                    pending.discard(key)
                else:
                    self._idle(step, stage, pending, record)
                    continue
                self._busy(record, "expert_ns", ns[key] // step.stages + (stage < ns[key] % step.stages))
                if stage == step.stages - 1 and key in step.streamed and step.held_back:
                    self.fabric.advance(self.now)
                    self._send(step, [step.held_back.popleft()])

    def _idle(self, step: Step, stage: int, awaited: set[int], record: Record) -> None:
        """Let time pass to the next completion: a stall on the link that the first awaited expert is on."""
        first = next(key for key in step.order if key in awaited)
        link = step.flights[first].link_on(stage if step.stages > 1 else None)
        if not self.fabric.step():
            msg = f"nothing moves, yet expert {first} is awaited at {self.now} ns"
            raise RuntimeError(msg)
        record.stall_ns[self.fabric.links.index(link)] += self.fabric.now - self.now
        self.now = self.fabric.now

    # -- experts on the CPU -----------------------------------------------------------------------

    def _send_to_cpu(self, event: Event, decision: Decision, n_layers: int) -> None:
        for defer in sorted({defer for _, _, defer in decision.cpu}):
            chosen = [(key, tokens) for key, tokens, d in decision.cpu if d == defer]
            work = [
                (
                    max(1, self.costs.cpu_expert_ns(event.layer, key % self.n_versions, tokens)),
                    self.loader.top.size_of(key),
                )
                for key, tokens in chosen
            ]
            n_bytes = max(1, self.costs.activation_bytes * sum(tokens for _, tokens in chosen))
            group = Group([key for key, _ in chosen], work, n_bytes, min(event.layer + defer, n_layers - 1))
            group.on_computed = self._computed
            self.groups.append(group)
            self._carry(self.loader.down, n_bytes, partial(self._enter_cpu, group))

    def _enter_cpu(self, group: Group, _transfer: Transfer, _stage: int) -> None:
        self.fabric.helper.add(group)

    def _leave_cpu(self, group: Group, _transfer: Transfer, _stage: int) -> None:
        group.done = True

    def _carry(self, link: Link | None, n_bytes: int, landed: Callable[[Transfer, int], None]) -> None:
        """Send activations over a link as one demand job."""
        assert link is not None
        transfer = Transfer(-1, (link,), demand=True, landed=landed)
        for job in self.loader.jobs(transfer, n_bytes, single=True):
            link.queue(job)

    def _computed(self, group: Group) -> None:
        if self.loader.host is not None:
            for key in group.keys:
                self.loader.host.unpin(key)
        self._carry(self.loader.up, group.n_bytes, partial(self._leave_cpu, group))

    def _combine(self, layer: int, n_layers: int, record: Record) -> None:
        """Wait for the CPU groups that are due at this layer."""
        due = [group for group in self.groups if group.due <= layer]
        if not due:
            return
        self.fabric.advance(self.now)
        while not all(group.done for group in due):
            self.fabric.step()
            record.cpu_wait_ns += self.fabric.now - self.now
            self.now = self.fabric.now
        self.groups = [group for group in self.groups if not group.done]

