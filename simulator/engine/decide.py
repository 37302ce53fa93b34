"""The demand event: lookups, policies, space; one atomic decision (docs/timing.md §4)."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from policies.base import UNWANTED, Admission, Event, Order, Place, Placement, Precision, Prefetch, Routing
from simulator.engine import checked
from simulator.engine.demand import Record
from simulator.engine.loader import Loader
from simulator.engine.tiers import EMPTY, Pool, Tier

PENDING = object()


class Found(IntEnum):
    """How a lookup ended."""

    HIT = 0
    LATE = 1
    MISS = 2


HIT, LATE, MISS = Found.HIT, Found.LATE, Found.MISS  # looked up in every step: a global is faster


@dataclass(slots=True)
class PolicySet:
    """One policy for each axis; eviction policies live in the pools."""

    admission: Admission
    prefetch: Prefetch
    precision: Precision
    placement: Placement
    routing: Routing
    order: Order


@dataclass(slots=True)
class Decision:
    """What a demand event decided. Keys are version keys, in the order of D.

    ``serve`` maps each key that tier 0 computes to its tokens; ``hits`` and ``late`` are among them;
    ``fetch`` in queueing order, ``kept`` those of it that have a place in tier 0, ``into_host`` in tier 1.
    ``cpu`` has (key, tokens, layers of deferral). ``pinned`` is unpinned when the step ends.
    ``substitutes`` were not looked up for themselves, so no miss of theirs is counted.
    """

    event: Event
    serve: dict[int, int] = field(default_factory=dict)
    hits: list[int] = field(default_factory=list)
    late: list[int] = field(default_factory=list)
    fetch: tuple[int, ...] = ()
    kept: set[int] = field(default_factory=set)
    into_host: set[int] = field(default_factory=set)
    cpu: list[tuple[int, int, int]] = field(default_factory=list)
    pinned: list[int] = field(default_factory=list)
    substitutes: set[int] = field(default_factory=set)
    evicted_bytes: int = 0
    evictions: int = 0
    found_in_dram: int = 0


class Decider:
    """Answers demand events from the state of the tiers, in the order of docs/timing.md §4."""

    def __init__(
        self,
        top: Tier,
        host: Tier | None,
        loader: Loader,
        policies: PolicySet,
        *,
        n_versions: int,
        after_event: bool,
    ) -> None:
        self.top, self.host, self.loader, self.policies = top, host, loader, policies
        self.n_versions = n_versions
        self.after_event = after_event

    def decide(self, event: Event, record: Record) -> Decision:
        """Look up, count, consult the policies, claim space; nothing is queued yet."""
        top, policies = self.top, self.policies
        top.step = event.index
        if self.host is not None:
            self.host.step = event.index
        self._impose(event)
        keys, found = self._look_up(event)
        record.lookups += len(keys)
        record.hits += found.count(HIT)
        record.late += found.count(LATE)
        decision = Decision(event)
        demand = self._rewrite(event, keys, found, record, decision)
        decision.pinned = list(demand)
        for key in demand:
            top.pin(key)
        self.loader.speculation.stale(event.index, demand)
        top.use(event, tuple(decision.pinned))
        missed = []
        for key, (tokens, how) in demand.items():
            if how is MISS:
                missed.append(key)
                continue
            decision.serve[key] = tokens
            (decision.hits if how is HIT else decision.late).append(key)
            self.loader.speculation.used(key)
        self._place(event, missed, demand, record, decision)
        evictions, evicted_bytes = top.evictions, top.evicted_bytes
        self._claim_space(event, missed, decision)
        decision.evictions = top.evictions - evictions
        decision.evicted_bytes = top.evicted_bytes - evicted_bytes
        decision.fetch = checked.asked_in_order(policies.order, event, decision.fetch)
        record.demand_bytes += sum(top.size_of(key) for key in decision.fetch)
        return decision

    def _impose(self, event: Event) -> None:
        """Make the tier hold what a recorded residency says, for the keys of this event."""
        pool = self.top.pools_of_layer[event.layer][0]
        residency = checked.residency(pool.policy, event)
        if residency is None:
            return
        for expert, there in zip(event.keys, residency, strict=True):
            key = expert * self.n_versions
            if there and key not in pool:
                self.top.take(key, None)
            elif not there and key in pool.landed:
                self.top.evict(key)

    # -- lookups ----------------------------------------------------------------------------------

    def _look_up(self, event: Event) -> tuple[list[int], list[Found]]:
        """Return the version key that serves (or is wanted for) each expert, and how it was found.

        -1 stands for an expert that its precision policy lets go when no version of it is there.
        """
        n = self.n_versions
        pools = self.top.pools_of_layer[event.layer]
        if n == 1:  # nothing to choose among, and the commonest case by far
            return list(event.keys), [_found(key, pools[0]) for key in event.keys]
        keys, found = [], []
        precision = self.policies.precision
        for expert, wanted in zip(event.keys, checked.wanted(precision, event, n), strict=True):
            base = expert * n
            others = [v for v in range(n) if v != wanted and checked.accepts(precision, v, wanted)]
            versions = others if wanted == UNWANTED else [wanted, *others]
            landed = [v for v in versions if base + v in pools[v].landed]
            flying = [v for v in versions if base + v in pools[v].flying and wanted != UNWANTED]
            serving = [*landed, *flying, wanted][0]
            keys.append(UNWANTED if serving == UNWANTED else base + serving)
            found.append(HIT if landed else LATE if flying else MISS)
        return keys, found

    def _rewrite(
        self,
        event: Event,
        keys: list[int],
        found: list[Found],
        record: Record,
        decision: Decision,
    ) -> dict[int, tuple[int, Found]]:
        """Let the routing policy drop or replace keys; return (tokens, found) of what is left, in order."""
        demand: dict[int, tuple[int, Found]] = {}
        routing = self.policies.routing
        served: Sequence[int] = keys
        if routing.rewrites:
            hit = tuple(how is HIT for how in found)
            experts = checked.rewritten(routing, event, hit, self.top.keys_per_layer // self.n_versions)
            served = [
                key if new == expert else new * self.n_versions if new >= 0 else -1
                for key, expert, new in zip(keys, event.keys, experts, strict=True)
            ]
        for key, new, how, tokens, mass in zip(
            keys, served, found, event.tokens, event.gate_mass, strict=True
        ):
            missed = how is MISS
            if new < 0:
                record.skipped += missed
                record.mass_skipped += mass
                continue
            if new != key:
                record.substituted += missed
                record.mass_substituted += mass
            elif new % self.n_versions:
                record.mass_low += mass
            else:
                record.mass_high += mass
            state = how if new == key else _found(new, self.top.pool(new))
            if new not in keys:
                decision.substitutes.add(new)
            demand[new] = (demand[new][0] + tokens if new in demand else tokens, state)
        return demand

    # -- placement --------------------------------------------------------------------------------

    def _place(
        self,
        event: Event,
        missed: list[int],
        demand: dict[int, tuple[int, Found]],
        record: Record,
        decision: Decision,
    ) -> None:
        if not missed:
            return
        host = self.host
        in_dram = [host is None or host.has_landed(key) for key in missed]
        record.not_in_top += len(missed)
        decision.found_in_dram = sum(in_dram)
        record.found_in_dram += decision.found_in_dram
        mass = dict(zip((k * self.n_versions for k in event.keys), event.gate_mass, strict=True))
        placed = checked.placed(self.policies.placement, event, tuple(missed), tuple(in_dram))
        fetch: list[int] = []
        for key, there, where in zip(missed, in_dram, placed, strict=True):
            weight = mass.get(key - key % self.n_versions, 0.0)
            missed_itself = key not in decision.substitutes
            if where.place is Place.CPU and there:
                decision.cpu.append((key, demand[key][0], where.defer_layers))
                if where.defer_layers:
                    record.deferred += missed_itself
                    record.mass_high -= weight
                    record.mass_deferred += weight
                else:
                    record.on_cpu += missed_itself
            elif where.place is Place.SKIP:
                record.skipped += missed_itself
                record.mass_high -= weight
                record.mass_skipped += weight
            else:
                fetch.append(key)
                record.fetched += missed_itself
                decision.serve[key] = demand[key][0]
        decision.fetch = tuple(fetch)

    # -- space ------------------------------------------------------------------------------------

    def _claim_space(self, event: Event, missed: list[int], decision: Decision) -> None:
        host = self.host
        if host is not None:
            served = {*decision.fetch, *(key for key, _, _ in decision.cpu)}
            computed = [key for key in missed if key in served]
            for key in computed:
                host.pin(key)
            host.use(event, tuple(computed))
        wanted = checked.asked_in_order(self.policies.admission, event, decision.fetch)
        decision.kept = self._claim(
            self.top, wanted, event, self.loader.speculation.shields, self.policies.admission
        )
        for key in missed:
            if key not in decision.kept:
                self.top.pool(key).policy.on_evict(key)
        if host is None:
            return
        far = [key for key in wanted if key not in host.pool(key)]
        decision.into_host = self._claim(host, far, event, EMPTY, None)
        for key in computed:
            host.unpin(key)
            if key not in host.pool(key):
                host.pool(key).policy.on_evict(key)
        for key, _, _ in decision.cpu:
            host.pin(key)

    def _claim(
        self,
        tier: Tier,
        keys: Sequence[int],
        event: Event,
        shields: Container[int],
        admission: Admission | None,
    ) -> set[int]:
        """Give each key a place in its pool or not; return those that have one."""
        kept: set[int] = set()
        for key in keys:
            size, pool = tier.size_of(key), tier.pool(key)
            while not self.after_event and pool.capacity - pool.used < size:
                victim = tier.victim(pool, tier.pins, shields)
                if victim is None or (
                    admission is not None and not checked.admits(admission, key, victim, event)
                ):
                    break
                tier.evict(victim)
            else:
                tier.take(key, PENDING)
                kept.add(key)
        if self.after_event:
            for pool in dict.fromkeys(tier.pools_of_layer[event.layer]):
                tier.make_room(pool, 0, tier.pins)
        return kept


def _found(key: int, pool: Pool) -> Found:
    return HIT if key in pool.landed else LATE if key in pool.flying else MISS
