"""The demand event: one atomic decision about a layer step (docs/timing.md §4.1 to §4.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from policies.base import (
    UNWANTED,
    Admission,
    Event,
    Order,
    Place,
    Placement,
    Precision,
    Prefetch,
    Routing,
    Wish,
)
from simulator.engine import checked
from simulator.engine.demand import Record
from simulator.engine.processes.exclusive import Exclusive
from simulator.engine.processes.speculation import Speculation
from simulator.engine.processes.tiers import NOBODY, Tier
from simulator.engine.processes.transfers import Transfer


class Found(Enum):
    """How a lookup ended (§4.1)."""

    HIT = 0
    LATE = 1
    MISS = 2


class Policies(Protocol):
    """One policy for each axis; eviction policies live in the pools."""

    admission: Admission
    prefetch: Prefetch
    precision: Precision
    placement: Placement
    routing: Routing
    order: Order


@dataclass(slots=True)
class Step:
    """What an event decided. Keys are version keys.

    ``tokens`` has D, in order, with the tokens of each key. ``hits`` are keys of it; ``transfers`` has what
    brings the others that the main unit computes, late ones first queued by a prefetch. ``fetched`` is in
    queueing order. ``cpu`` has (key, layers of deferral). ``extra`` are keys of D that routing put there.
    """

    event: Event
    tokens: dict[int, int] = field(default_factory=dict)
    extra: set[int] = field(default_factory=set)
    hits: list[int] = field(default_factory=list)
    late: list[int] = field(default_factory=list)
    missed: list[int] = field(default_factory=list)
    fetched: tuple[int, ...] = ()
    transfers: dict[int, Transfer] = field(default_factory=dict)
    cpu: list[tuple[int, int]] = field(default_factory=list)
    write_backs: list[Transfer] = field(default_factory=list)
    wishes: Sequence[Wish] = ()
    found_in_dram: int = 0
    evictions: int = 0
    evicted_bytes: int = 0


class Events:
    """Answers demand events from the state of the tiers."""

    def __init__(
        self,
        tiers: Sequence[Tier],
        policies: Policies,
        speculation: Speculation,
        exclusive: Exclusive | None,
        *,
        after_event: bool,
    ) -> None:
        self.top, self.host = tiers[0], tiers[1] if len(tiers) > 1 else None
        self.tiers, self.policies, self.speculation = tiers, policies, speculation
        self.exclusive, self.after_event = exclusive, after_event
        self.n_versions = self.top.n_versions

    def decide(self, event: Event, record: Record) -> Step:
        """Take the decisions of §4 in their order; nothing is queued yet."""
        step = Step(event)
        for tier in self.tiers:
            tier.step = event.index
        if self.exclusive is not None:
            step.write_backs = self.exclusive.hold()
        self._replay_record(event)
        how = self._look_up(step, record)
        for key in step.tokens:
            self.top.pin(key)
        self.speculation.stale(event.index, step.tokens)
        self._sort(step, how)
        self._place(step, record)
        self._use(step)
        self._claim_space(step)
        step.fetched = checked.asked_in_order(self.policies.order, event, step.fetched)
        record.demand_bytes += sum(self.top.size_of(key) for key in step.fetched)
        self._wish(step)
        if self.exclusive is not None:
            self.exclusive.release()
        return step

    # -- lookup (§4.1) ----------------------------------------------------------------------------

    def _look_up(self, step: Step, record: Record) -> dict[int, Found]:
        """Look the demand up, let routing rewrite it, and count; return how each of D was found (§4.1)."""
        event = step.event
        looked_up = self._versions(event)
        how = dict[int, Found]()
        found = [found for _, found in looked_up]
        record.lookups += len(found)
        record.hits += found.count(Found.HIT)
        record.late += found.count(Found.LATE)
        served = self._rewritten(event, looked_up)
        wanted = {key for key, _ in looked_up}
        for (key, was), new, tokens, mass in zip(
            looked_up, served, event.tokens, event.gate_mass, strict=True
        ):
            if new < 0:
                record.skipped += was is Found.MISS
                record.mass_skipped += mass
                continue
            if new != key:
                record.substituted += was is Found.MISS
                record.mass_substituted += mass
            elif new % self.n_versions:
                record.mass_low += mass
            else:
                record.mass_high += mass
            how[new] = was if new == key else self._state(new)
            step.tokens[new] = step.tokens.get(new, 0) + tokens
            if new not in wanted:
                step.extra.add(new)
        return how

    def _state(self, key: int) -> Found:
        pool = self.top.pool(key)
        return Found.HIT if key in pool.landed else Found.LATE if key in pool.flying else Found.MISS

    def _versions(self, event: Event) -> list[tuple[int, Found]]:
        """Return the version that serves each expert, or is missed; -1 where none is wanted or there."""
        n, precision = self.n_versions, self.policies.precision
        if n == 1:
            return [(key, self._state(key)) for key in event.keys]
        found = []
        for expert, wanted in zip(event.keys, checked.wanted(precision, event, n), strict=True):
            order = [wanted] if wanted != UNWANTED else []
            order += [v for v in range(n) if v != wanted and checked.accepts(precision, v, wanted)]
            keys = [expert * n + version for version in order]
            states = [self._state(key) for key in keys]
            if Found.HIT in states:
                found.append((keys[states.index(Found.HIT)], Found.HIT))
            elif wanted == UNWANTED:
                found.append((UNWANTED, Found.MISS))
            elif Found.LATE in states:
                found.append((keys[states.index(Found.LATE)], Found.LATE))
            else:
                found.append((expert * n + wanted, Found.MISS))
        return found

    def _rewritten(self, event: Event, looked_up: list[tuple[int, Found]]) -> list[int]:
        """Ask routing which key serves each demanded one; -1 drops it."""
        routing, n = self.policies.routing, self.n_versions
        keys = [key for key, _ in looked_up]
        if not routing.rewrites:
            return keys
        hit = tuple(found is Found.HIT for _, found in looked_up)
        experts = checked.rewritten(routing, event, hit, self.top.keys_per_layer // n)
        return [
            key if new == expert else new * n if new >= 0 else -1
            for key, expert, new in zip(keys, event.keys, experts, strict=True)
        ]

    def _sort(self, step: Step, how: dict[int, Found]) -> None:
        """Sort D into hits, late and missed; prefetches that are demanded were useful."""
        for key, found in how.items():
            if found is Found.MISS:
                step.missed.append(key)
                continue
            self.speculation.used(key)
            if found is Found.HIT:
                step.hits.append(key)
            else:
                step.late.append(key)
                step.transfers[key] = self.top.pool(key).flying[key]

    # -- placement (§4.3) -------------------------------------------------------------------------

    def _place(self, step: Step, record: Record) -> None:
        """Ask where each miss is computed, and count what became of it (§4.3)."""
        if not step.missed:
            return
        event, host, n = step.event, self.host, self.n_versions
        in_dram = tuple(host is None or key in host for key in step.missed)
        step.found_in_dram = sum(in_dram)
        record.not_in_top += len(in_dram)
        record.found_in_dram += step.found_in_dram
        mass = dict(zip(event.keys, event.gate_mass, strict=True))
        placed = checked.placed(self.policies.placement, event, tuple(step.missed), in_dram)
        fetched = []
        for key, there, where in zip(step.missed, in_dram, placed, strict=True):
            weight = mass.get(key // n, 0.0)
            itself = key not in step.extra
            if where.place is Place.CPU and there:
                step.cpu.append((key, where.defer_layers))
                if where.defer_layers:
                    record.deferred += itself
                    record.mass_high -= weight
                    record.mass_deferred += weight
                else:
                    record.on_cpu += itself
            elif where.place is Place.SKIP:
                record.skipped += itself
                record.mass_high -= weight
                record.mass_skipped += weight
            else:
                fetched.append(key)
                record.fetched += itself
        step.fetched = tuple(fetched)

    # -- use and space (§4.4, §4.5) -----------------------------------------------------------------

    def _replay_record(self, event: Event) -> None:
        """Make tier 0 hold what a recorded residency says of the keys of the event, at no cost (§4.5)."""
        residency = checked.residency(self.top.pool_at[event.layer, 0].policy, event)
        if residency is None:
            return
        for expert, there in zip(event.keys, residency, strict=True):
            key = expert * self.n_versions
            if there and self._state(key) is Found.MISS:
                self.top.take_in(key, None)
            elif not there and key in self.top:
                self.top.evict(key)

    def _use(self, step: Step) -> None:
        """Tell the policies of tier 0 of D, and those of tier 1 of what was looked up there (§4.4)."""
        self.top.use(step.event, tuple(step.tokens))
        if self.host is not None:
            self.host.use(step.event, self._looked_up_below(step))

    def _looked_up_below(self, step: Step) -> tuple[int, ...]:
        below = {*step.fetched, *(key for key, _ in step.cpu)}
        return tuple(key for key in step.missed if key in below)

    def _claim_space(self, step: Step) -> None:
        """Give what is fetched a place in tier 0, and in tier 1 what comes from further off (§4.5)."""
        top, host, admission = self.top, self.host, self.policies.admission
        wanted = checked.asked_in_order(admission, step.event, step.fetched)
        for key in step.fetched:
            step.transfers[key] = Transfer(key)
        below = self._looked_up_below(step)
        if host is not None:
            for key in below:  # until it has landed in tier 0, or was computed
                host.pin(key)
        for key in self._claim(top, wanted, step, self.speculation.shields, admission):
            step.transfers[key].kept = True
        for key in step.missed:
            if key not in step.fetched or not step.transfers[key].kept:
                top.pool(key).policy.on_evict(key)
        if host is None:
            return
        far = [key for key in wanted if key not in host.pool(key)]
        for key in self._claim(host, far, step, NOBODY, None):
            step.transfers[key].into_host = True
        for key in below:
            if key not in host.pool(key):
                host.pool(key).policy.on_evict(key)

    def _claim(
        self, tier: Tier, keys: Sequence[int], step: Step, shields: dict[int, int] | frozenset[int],
        admission: Admission | None,
    ) -> list[int]:  # fmt: skip
        """Take keys in as they find space; return those that did (§4.5)."""
        event = step.event
        kept = []
        for key in keys:
            pool, size = tier.pool(key), tier.size_of(key)
            if not self.after_event:
                for victim in tier.victims_last_shielded(pool, size, shields):
                    if admission is not None and not checked.admits(admission, key, victim, event):
                        break
                    self._evict(tier, victim, step)
                if pool.free < size:
                    continue
            tier.take_in(key, step.transfers[key])
            kept.append(key)
        if self.after_event:
            layer = event.layer
            for pool in dict.fromkeys(tier.pool_at[layer, version] for version in range(self.n_versions)):
                for victim in tier.victims(pool, 0):
                    self._evict(tier, victim, step)
        return kept

    def _evict(self, tier: Tier, victim: int, step: Step) -> None:
        if tier is self.top:
            step.evictions += 1
            step.evicted_bytes += tier.size_of(victim)
        tier.evict(victim)

    # -- wishes (§4.7) ----------------------------------------------------------------------------

    def _wish(self, step: Step) -> None:
        """Ask the prefetcher, and shield what it predicts from now on (§4.7)."""
        prefetch, top = self.policies.prefetch, self.top
        step.wishes = checked.wishes(prefetch, step.event, top, top.n_layers, top.keys_per_layer)
        if prefetch.shields:
            for wish in step.wishes:
                self.speculation.shield(wish.key, step.event.index + wish.layer)
