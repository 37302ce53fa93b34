"""Tiers and their pools: who is where, and the rule of space (docs/timing.md §2, §4.5, §10)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterator, Sequence

from policies.base import Event, Eviction
from simulator.engine import checked
from simulator.engine.processes.transfers import Transfer

NOBODY: frozenset[int] = frozenset()


class Pool:
    """A share of a tier (§2): a capacity in bytes, an eviction policy, and entries, landed or in flight.

    ``flying`` has what brings each entry in flight.
    """

    def __init__(self, capacity: int, policy: Eviction) -> None:
        self.capacity, self.policy = capacity, policy
        self.used = 0
        self.landed: set[int] = set()
        self.flying: dict[int, Transfer] = {}

    def __contains__(self, key: int) -> bool:
        return key in self.landed or key in self.flying

    @property
    def free(self) -> int:
        """Bytes that are free; below 0 where more was taken in than fits (``evict: after_event``)."""
        return self.capacity - self.used


class Blocked(Container[int]):
    """Who may not go: keys in any of some containers."""

    def __init__(self, *of: Container[int]) -> None:
        self.of = of

    def __contains__(self, key: object) -> bool:
        return any(key in some for some in self.of)


class Tier(Container[int]):
    """A caching tier; what it contains are the keys that have landed in it.

    ``pools`` has each pool with its layers and versions (() for all). ``step`` is the index of the last
    demand event. ``on_leave`` is told of each victim.
    """

    def __init__(
        self,
        name: str,
        pools: Sequence[tuple[Pool, Sequence[int], Sequence[int]]],
        size_of: Callable[[int], int],
        keys_per_layer: int,
        n_versions: int,
    ) -> None:
        self.name, self.size_of = name, size_of
        self.keys_per_layer, self.n_versions = keys_per_layer, n_versions
        self.pools = [pool for pool, _, _ in pools]
        self.pool_at = {
            (layer, version): pool
            for pool, layers, versions in pools
            for layer in layers
            for version in versions or range(n_versions)
        }
        self.n_layers = 1 + max(layer for layer, _ in self.pool_at)
        self.observers = [pool.policy for pool in self.pools if _observes(pool.policy)]
        self.pins: dict[int, int] = {}
        self.used = self.peak = 0
        self.step = 0
        self.came: dict[int, int] = {}
        self.resident: dict[int, int] = {}
        self.on_leave: Callable[[int], None] = lambda _key: None
        self.changed: Callable[[int, str], None] = lambda _key, _what: None

    def pool(self, key: int) -> Pool:
        """Return the pool of a key."""
        return self.pool_at[key // self.keys_per_layer, key % self.n_versions]

    def __contains__(self, key: object) -> bool:
        return isinstance(key, int) and key in self.pool(key).landed

    def bringing(self, key: int) -> Transfer | None:
        """Return what brings a key that is in flight."""
        return self.pool(key).flying.get(key)

    # -- entries (§2, §10) --------------------------------------------------------------------------

    def take_in(self, key: int, by: Transfer | None) -> None:
        """Count a key in: in flight, brought by a transfer, or landed at once."""
        pool, size = self.pool(key), self.size_of(key)
        if by is None:
            pool.landed.add(key)
        else:
            pool.flying[key] = by
        pool.used += size
        self.used += size
        self.peak = max(self.peak, self.used)
        self.came[key] = self.step
        self.changed(key, "taken")

    def land(self, key: int) -> None:
        """Note that all bytes of a key in flight are there."""
        pool = self.pool(key)
        del pool.flying[key]
        pool.landed.add(key)
        self.changed(key, "landed")

    def remove(self, key: int, what: str = "removed") -> None:
        """Let a key go, landed or in flight, and free its bytes."""
        pool, size = self.pool(key), self.size_of(key)
        pool.landed.discard(key)
        pool.flying.pop(key, None)
        pool.used -= size
        self.used -= size
        self.resident[key] = self.resident.get(key, 0) + self.step - self.came.pop(key)
        pool.policy.on_evict(key)
        self.changed(key, what)

    def evict(self, victim: int) -> None:
        """Let a victim go."""
        self.remove(victim, "evicted")
        self.on_leave(victim)

    def resident_steps(self, end_step: int) -> dict[int, int]:
        """Return for how many layer steps before ``end_step`` each key was resident, without zeros (§10)."""
        steps = dict(self.resident)
        for key, came in self.came.items():
            steps[key] = steps.get(key, 0) + end_step - came
        return {key: n for key, n in sorted(steps.items()) if n}

    # -- pins -------------------------------------------------------------------------------------

    def pin(self, key: int) -> None:
        """Protect a key from eviction; pins are counted."""
        self.pins[key] = self.pins.get(key, 0) + 1

    def unpin(self, key: int) -> None:
        """Take one pin back."""
        self.pins[key] -= 1
        if not self.pins[key]:
            del self.pins[key]

    # -- the rule of space (§4.5) -------------------------------------------------------------------

    def victims(self, pool: Pool, n_bytes: int, shields: Collection[int] = NOBODY) -> Iterator[int]:
        """Name victims, one by one, as long as ``n_bytes`` do not fit and somebody can go (§4.5).

        Blocked are pinned keys, entries in flight and shielded keys. Who asks lets each go, or stops.
        """
        while pool.free < n_bytes:
            victim = self._victim(pool, shields)
            if victim is None:
                return
            yield victim

    def victims_last_shielded(self, pool: Pool, n_bytes: int, shields: Collection[int]) -> Iterator[int]:
        """Name victims for a demand: shielded keys may go too, if nobody else can."""
        while pool.free < n_bytes:
            victim = next(self.victims(pool, n_bytes, shields), None)
            if victim is None and shields:
                victim = next(self.victims(pool, n_bytes), None)
            if victim is None:
                return
            yield victim

    def make_room(self, pool: Pool, n_bytes: int, shields: Collection[int] = NOBODY) -> bool:
        """Let victims go until ``n_bytes`` fit; return whether they do."""
        for victim in self.victims(pool, n_bytes, shields):
            self.evict(victim)
        return pool.free >= n_bytes

    def _victim(self, pool: Pool, shields: Collection[int]) -> int | None:
        blocked = Blocked(self.pins, pool.flying, shields)
        said = pool.policy.victim(blocked)
        if type(said) is int and said in pool.landed and said not in blocked:
            return said
        where = f"layer {self.step % self.n_layers}, event {self.step}, {self.name} tier"
        every = [other.landed for other in self.pools]
        return checked.judge_victim(pool.policy, said, blocked, pool.landed, every, where)

    def resize(self, pool: Pool, capacity: int) -> None:
        """Change a pool's capacity; what no longer fits leaves at once (§3)."""
        pool.capacity = capacity
        self.make_room(pool, 0)

    # -- policies (§2, §4.4) ------------------------------------------------------------------------

    def preload(self, layers_of_pools: Sequence[Sequence[int]], versions: Sequence[int]) -> None:
        """Fill each pool with what its policy starts with, in the version given, as far as it fits (§2)."""
        n_experts = self.keys_per_layer // self.n_versions
        for pool, layers, version in zip(self.pools, layers_of_pools, versions, strict=True):
            for expert in checked.preload(pool.policy, tuple(layers), n_experts):
                key = expert * self.n_versions + version
                if pool.free >= self.size_of(key):
                    self.take_in(key, None)
                    pool.policy.on_insert(key)

    def use(self, event: Event, keys: Sequence[int]) -> None:
        """Show policies the step and the keys that serve it, in order, pool by pool (§4.4)."""
        for policy in self.observers:
            policy.observe(event, keys)
        of_pool: dict[Pool, list[int]] = {}
        if self.n_versions == 1:
            of_pool[self.pool_at[event.layer, 0]] = []
        for key in keys:
            of_pool.setdefault(self.pool(key), []).append(key)
        for pool, some in of_pool.items():
            pool.policy.on_use(tuple(some), event.index)


def _observes(policy: Eviction) -> bool:
    return type(policy).observe is not Eviction.observe
