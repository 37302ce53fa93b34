"""The experts of a step on the main unit: stages, overlap and waves (docs/timing.md §4, "Experts")."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from simulator.engine.plan import RuntimePlan
from simulator.engine.processes.clock import Process
from simulator.engine.processes.event import Step
from simulator.engine.processes.links import Link
from simulator.engine.processes.transfers import Transfer

if TYPE_CHECKING:
    from simulator.engine.processes.main import Main


class Experts:
    """Computes the experts of one step, each as its bytes land.

    ``later`` are streamed experts that have no staging buffer yet.
    """

    def __init__(self, main: Main, step: Step) -> None:
        self.main, self.step = main, step
        self.runtime: RuntimePlan = main.runtime
        self.layer = step.event.layer
        self.hits = set(step.hits)
        serving = self.hits | step.transfers.keys()
        self.keys = [key for key in step.tokens if key in serving]
        streamed = [key for key in step.fetched if not step.transfers[key].kept]
        buffers = max(1, self.runtime.staging_buffers)
        self.later = deque(streamed[buffers:])
        self.streamed = set(streamed)
        self.queued = serving - set(self.later)
        by_matrix = self.runtime.parts_order == "matrix"
        self.n_stages = self.runtime.n_parts(self.layer) if by_matrix and not self.later else 1
        self.started = False

    # -- queueing (§4.7, §11 "Calls") ---------------------------------------------------------------

    def queue(self) -> Process:
        """Make the calls for the demand transfers that have a buffer, and queue them."""
        main, step = self.main, self.step
        transfers = [step.transfers[key] for key in step.fetched if key in self.queued]
        by_matrix = self.runtime.parts_order == "matrix"
        for transfer in transfers:
            yield from main.call(main.host.plan.copy_ns)
            if not by_matrix:
                main.carrier.queue([transfer])
        if by_matrix:
            main.carrier.queue(transfers)

    def _give_buffer_back(self) -> Process:
        """Queue the next streamed expert, as its buffer is free now (§4, "Waves")."""
        if self.later:
            key = self.later.popleft()
            yield from self.main.call(self.main.host.plan.copy_ns)
            self.main.carrier.queue([self.step.transfers[key]])
            self.queued.add(key)

    # -- computing (§4 "Experts") -------------------------------------------------------------------

    def compute(self) -> Process:
        """Run every expert once in each stage, in the order that the overlap says (§4)."""
        run = {"expert": self._as_they_land, "layer": self._all_together, "in_order": self._in_order}
        for stage in range(self.n_stages):
            yield from run[self.runtime.overlap](stage)

    def _as_they_land(self, stage: int) -> Process:
        left = list(self.keys)
        while left:
            yield from self._wait(left, stage, 1)
            key = self._ready(left, stage)[0]
            left.remove(key)
            yield from self._run(key, stage)

    def _all_together(self, stage: int) -> Process:
        left = list(self.keys)
        while left:
            queued = [key for key in left if key in self.queued]
            yield from self._wait(queued, stage, len(queued))
            for key in self._ready(queued, stage):
                left.remove(key)
                yield from self._run(key, stage)

    def _in_order(self, stage: int) -> Process:
        left = sorted(self.keys)
        while left:
            key = next(key for key in left if key in self.queued)
            left.remove(key)
            yield from self._wait([key], stage, 1)
            yield from self._run(key, stage)

    def _ready(self, keys: Iterable[int], stage: int) -> list[int]:
        """Return which keys are ready for a stage: hits in the order of D, then in the order of landing."""
        found = [
            (place, i, key) for i, key in enumerate(keys) if (place := self._landed(key, stage)) is not None
        ]
        return [key for _, _, key in sorted(found)]

    def _landed(self, key: int, stage: int) -> int | None:
        """Return the place in the order of landing; None where a piece of the stage has not landed."""
        if key in self.hits:
            return 0
        transfer = self.step.transfers[key]
        if key not in self.queued or not transfer.pieces:
            return None
        places = [piece.landed for piece in transfer.of_stage(self._part(stage))]
        return None if None in places else max(places, default=0)  # type: ignore[type-var]

    def _part(self, stage: int) -> int | None:
        return stage if self.n_stages > 1 else None

    def _run(self, key: int, stage: int) -> Process:
        """Issue an expert and compute a stage of it (§4, §11)."""
        main, layer, n = self.main, self.layer, self.main.top.n_versions
        launches = main.launches
        ns = main.costs.expert_ns(layer, key % n, self.step.tokens[key])
        if self.n_stages > 1:
            ns = self.runtime.part_ns(layer, key % n, ns)[stage]
        if stage == 0:
            items = ("expert_ns",) if self.started else ("experts_ns", "expert_ns")
            yield from main.until(main.host.issue(launches, *items, layer=layer), "host")
            if not self.started and launches is not None:
                ns += launches.of("experts_start_ns", layer)
            self.started = True
        yield from main.spend(ns, "expert", layer, key)
        if key in self.streamed and stage == self.n_stages - 1:
            yield from self._give_buffer_back()

    # -- waiting ----------------------------------------------------------------------------------

    def _wait(self, keys: list[int], stage: int, n: int) -> Process:
        """Wait until ``n`` of the keys are ready; each part of the wait has the label of its link."""
        main = self.main
        start = main.now
        while len(self._ready(keys, stage)) < n:
            key, link = self._awaited(keys, stage)
            yield from main.hear_news(f"stall_{link.plan.name}", self.layer, key)
        if main.now > start:
            main.host.waited(main.now, blocks=main.host.plan.blocking)

    def _awaited(self, keys: list[int], stage: int) -> tuple[int, Link]:
        """Return the first awaited expert, in the order of D, and the link that the wait is for."""
        waited = set(keys)
        key = next(
            key
            for key in self.keys
            if key in waited and key in self.queued and self._landed(key, stage) is None
        )
        return key, _link_of(self.step.transfers[key], self._part(stage))


def _link_of(transfer: Transfer, part: int | None) -> Link:
    """Return the link that a wait is for: the first until all pieces of the stage have left it (§4, §7)."""
    if (source := transfer.waits_for) is not None:
        reads = source.hops and source.hops[0].plan.source > source.hops[0].plan.target
        return source.hops[0] if reads else transfer.hops[-1]
    left = all(piece.left_first for piece in transfer.of_stage(part))
    return transfer.hops[-1 if left else 0]
