"""Speed hack: whole passes in one tight loop, for the plainest and commonest runs.

Reason: with one fixed-rate serial link, nothing speculative, nothing on the CPU and room for every
demand, arrivals are known in closed form when they are asked for. Then a layer step needs no event
calendar. It is many times as fast as ``player``: benchmarks/ measures both, and
docs/background/performance.md has the rates. It computes what ``player`` computes, to the nanosecond
(tests/engine/). Whatever does not qualify goes to ``player``.
"""

from __future__ import annotations

from collections.abc import Sequence

from policies.admission.always import Always
from policies.base import Eviction
from policies.order.as_routed import AsRouted
from policies.placement.fetch import Fetch
from policies.precision.fixed import Fixed
from policies.prefetch.none import NoPrefetch
from policies.routing.as_recorded import AsRecorded
from simulator.engine import checked
from simulator.engine.demand import Pass, Record
from simulator.engine.plan import HostPlan, MachinePlan, Overhead, RuntimePlan, move_ns
from simulator.engine.player import Player

PLAIN = {
    "admission": Always,
    "prefetch": NoPrefetch,
    "precision": Fixed,
    "placement": Fetch,
    "routing": AsRecorded,
    "order": AsRouted,
}


class MergedPlayer:
    """Plays plain decode passes itself and hands all others to the general player."""

    def __init__(self, player: Player, machine: MachinePlan, layer_bytes: list[int]) -> None:
        self.player = player
        self.top = player.loader.top
        link = player.loader.up
        assert link is not None
        self.link = link
        self.link_index = player.fabric.links.index(link)
        self.sizes = layer_bytes
        self.read_bytes = [link.plan.read_bytes(size) for size in layer_bytes]
        rate = link.plan.lane_rate(1, 1)
        if machine.dram_bytes_per_s and link.plan.uses_dram:
            rate = min(rate, machine.dram_bytes_per_s)
        self.load_ns = [link.plan.latency_ns + move_ns(size, rate) for size in self.read_bytes]
        self.expert_ns: list[int] = [player.costs.expert_ns(layer, 0, 1) for layer in range(len(layer_bytes))]

    @staticmethod
    def applies(player: Player, machine: MachinePlan, runtime: RuntimePlan, n_versions: int) -> bool:
        """Return whether a run is plain enough: see the module."""
        link = player.loader.up
        policies = player.decider.policies
        return (
            link is not None
            and len(machine.tiers) == 2
            and n_versions == 1
            and link.plan.lanes == 1
            and not link.plan.table
            and not link.plan.copy_bytes_per_s
            and not runtime.tensors
            and (runtime.parts == 1 or (runtime.parts_order == "expert" and not link.plan.split))
            and runtime.overlap == "expert"
            and runtime.evict == "on_insert"
            and not runtime.exclusive
            and not player.top.observers
            and not any(pool.policy.refuses for pool in player.top.pools)
            and all(type(pool.policy).residency is Eviction.residency for pool in player.top.pools)
            and runtime.host == HostPlan()
            and runtime.overhead == Overhead(pass_ns=runtime.overhead.pass_ns, when=runtime.overhead.when)
            and all(type(getattr(policies, axis)) is plain for axis, plain in PLAIN.items())
        )

    def play(self, p: Pass) -> Record:
        """Play one pass; the same record as ``Player.play`` gives."""
        player, top = self.player, self.top
        pools = [versions[0] for versions in top.pools_of_layer]
        if (
            p.tokens is not None
            or p.costs.launches is not None
            or player.watch is not None
            or player.observer is not None
            or any(len(keys) * self.sizes[i] > pools[i].capacity for i, keys in enumerate(p.demands))
        ):
            return player.play(p)
        start = player.now
        now = start + player.runtime.overhead.pass_ns + p.costs.prologue_ns
        before, after, combine = p.costs.before_ns, p.costs.after_ns, p.costs.combine_ns
        sizes, expert_ns, load_ns, keys_per_layer = (
            self.sizes,
            self.expert_ns,
            self.load_ns,
            top.keys_per_layer,
        )
        index = p.index * len(p.demands)
        lookups = misses = stall = compute = loaded = read = busy = 0
        resident, last = top.resident, top.step - index
        used, peak, evictions, evicted = top.used, top.peak, top.evictions, top.evicted_bytes
        for layer, keys in enumerate(p.demands):
            now += before[layer]
            pool = pools[layer]
            landed, policy = pool.landed, pool.policy
            missed = [key for key in keys if key not in landed]
            n = len(keys)
            lookups += n
            each = expert_ns[layer]
            compute += n * each
            if n:
                policy.on_use(keys, index + layer)
                last = layer
            if not missed:
                now += after[layer] + n * each + combine[layer]
                continue
            size, step = sizes[layer], index + layer
            free = pool.capacity - pool.used
            for key in missed:
                while free < size:
                    victim = policy.victim(keys)
                    if type(victim) is not int or victim not in landed or victim in keys:
                        victim = self._judged(policy, victim, keys, landed, step)
                    landed.remove(victim)
                    resident[victim] += step
                    policy.on_evict(victim)
                    gone = sizes[victim // keys_per_layer]
                    free += gone
                    used -= gone
                    evicted += gone
                    evictions += 1
                landed.add(key)
                resident[key] -= step
                free -= size
                used += size
                if used > peak:  # noqa: PLR1730 - a call of max costs more than all of this line
                    peak = used
            pool.used = pool.capacity - free
            n_missed = len(missed)
            misses += n_missed
            loaded += n_missed * size
            read += n_missed * self.read_bytes[layer]
            arrives, load = now, load_ns[layer]
            busy += n_missed * load
            now += after[layer] + (n - n_missed) * each
            for _ in missed:
                arrives += load
                if arrives > now:
                    stall += arrives - now
                    now = arrives
                now += each
            now += combine[layer]
        now += p.costs.epilogue_ns
        player.now = player.fabric.now = now
        top.step = index + last
        top.used, top.peak, top.evictions, top.evicted_bytes = used, peak, evictions, evicted
        self.link.moved_bytes += read
        self.link.busy_ns += busy
        n_links = len(player.fabric.links)
        record = Record(start, now, stall_ns=[0] * n_links, busy_ns=[0] * n_links)
        record.stall_ns[self.link_index] = stall
        record.busy_ns[self.link_index] = busy
        record.expert_ns = compute
        record.overhead_ns = player.runtime.overhead.pass_ns
        record.dense_ns = now - start - stall - compute - record.overhead_ns
        record.lookups, record.hits = lookups, lookups - misses
        record.fetched = record.not_in_top = record.found_in_dram = misses
        record.demand_bytes = loaded
        record.mass_high = float(p.n_tokens * sum(1 for keys in p.demands if keys))
        return record

    def _judged(
        self, policy: Eviction, answer: object, keys: Sequence[int], landed: set[int], step: int
    ) -> int:
        """Return a victim that is not plain; None is none, since there is room for every key of the event."""
        top = self.top
        where = f"layer {step % len(self.sizes)}, event {step}, {top.name} tier"
        every = [pool.landed for pool in top.pools]
        victim = checked.judge_victim(policy, answer, keys, landed, every, where)
        assert victim is not None
        return victim
