"""The engine: processes wired together (docs/timing.md §1 to §11)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from policies.base import Policy
from simulator.engine.answer import Answer
from simulator.engine.demand import Pass, Record
from simulator.engine.plan import MachinePlan, RuntimePlan
from simulator.engine.processes import clock as order
from simulator.engine.processes.carrier import Carrier
from simulator.engine.processes.clock import Clock, Once
from simulator.engine.processes.event import Events, Policies
from simulator.engine.processes.exclusive import Exclusive
from simulator.engine.processes.helper import Helper
from simulator.engine.processes.links import Link
from simulator.engine.processes.main import Costs, Main, stream
from simulator.engine.processes.picks import Picks
from simulator.engine.processes.rates import Rates
from simulator.engine.processes.speculation import Speculation
from simulator.engine.processes.staging import Staging
from simulator.engine.processes.tiers import Tier


class Engine:
    """A machine of processes that plays passes; ``tiers`` are those of the machine but the last (§2)."""

    def __init__(
        self,
        machine: MachinePlan,
        runtime: RuntimePlan,
        tiers: Sequence[Tier],
        policies: Policies,
        costs: Costs,
        bound: Iterable[Policy],
        keep: Callable[[Pass, Record], None],
        resize: Callable[[int], None],
    ) -> None:
        clock = self.clock = Clock()
        self.tiers, self.keep, self.resize, self.policies = tiers, keep, resize, list(bound)
        rates = self.rates = Rates(clock, machine.dram_bytes_per_s)
        carrier = self.carrier = Carrier(runtime, tiers)
        self.links: list[Link] = []
        priority = order.LANES
        for plan in machine.links:
            self.links.append(Link(clock, plan, priority, rates, carrier))
            priority += plan.lanes
        by_ends = {(link.plan.source, link.plan.target): link for link in self.links}
        carrier.up, carrier.down = by_ends[1, 0], by_ends.get((0, 1))
        carrier.read = by_ends[2, 1] if len(tiers) > 1 else None
        speculation = self.speculation = Speculation(carrier)
        looks = Once(clock, order.PICKS, Picks(self.links, carrier, speculation).pick)
        carrier.look = looks.ask
        carrier.staging = Staging(clock, runtime.host_staging_chunks, looks.ask)
        exclusive = Exclusive(carrier) if runtime.exclusive else None

        def left(key: int) -> None:
            speculation.left(key)
            if exclusive is not None:
                exclusive.left(key)

        tiers[0].on_leave = left
        after_event = runtime.evict == "after_event"
        events = Events(tiers, policies, speculation, exclusive, after_event=after_event)
        helper = Helper(clock, rates)
        self.main = Main(clock, runtime, self.links, helper, events, costs)
        carrier.news = self.main.tell

    def run(self, passes: Iterable[Pass]) -> int:
        """Play passes; return the time at which the last one ended."""
        self.clock.run(self.clock.process(stream(self.main, passes, self._begins, self.keep)))
        return int(self.clock.now)

    def close(self) -> Answer:
        """End the run, after its last pass; return what it answers (§5, §10)."""
        wasted = self.speculation.close()
        ends = self.speculation.ends
        return Answer(
            link_bytes={link.plan.name: link.moved_bytes for link in self.links},
            peak_bytes={tier.name: tier.peak for tier in self.tiers},
            started=ends.started,
            useful=ends.useful,
            unused=ends.unused,
            cancelled=ends.cancelled,
            dropped=ends.dropped,
            wasted_bytes=wasted,
        )

    def resident_steps(self, end_step: int) -> dict[int, int]:
        """Return for how many layer steps each key was resident in tier 0, without zeros (§10)."""
        return self.tiers[0].resident_steps(end_step)

    def _begins(self, p: Pass) -> None:
        """Begin a pass: policies forget the sequence before, pools follow the KV cache (§3)."""
        if p.starts_sequence:
            for policy in self.policies:
                policy.on_sequence_start()
        if p.cache_bytes is not None:
            self.resize(p.cache_bytes)
