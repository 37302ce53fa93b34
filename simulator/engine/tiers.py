"""Tiers and their pools: who is where, how many bytes that is, and who has to leave."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence

from policies.base import Event, Eviction
from simulator.engine import checked
from simulator.engine.observe import Change, Observer

EMPTY: frozenset[int] = frozenset()


class Pool:
    """A share of a tier: capacity in bytes, an eviction policy, and entries landed or in flight."""

    __slots__ = ("capacity", "flying", "landed", "policy", "used")

    def __init__(self, capacity: int, policy: Eviction) -> None:
        self.capacity = capacity
        self.policy = policy
        self.used = 0
        self.landed: set[int] = set()
        self.flying: dict[int, object] = {}

    def __contains__(self, key: int) -> bool:
        return key in self.landed or key in self.flying


class Tier:
    """A caching tier: pools over layers and versions, pins, and the accounting that no policy can break.

    ``pools`` has each pool with its layers and versions (() for all). ``size_of`` gives the bytes of an
    entry. ``on_leave`` is told of every entry that leaves. ``step`` is the index of the last demand event;
    ``resident`` has, by key, the sum of the steps in which it left less those in which it came.
    """

    def __init__(
        self,
        name: str,
        pools: Sequence[tuple[Pool, Sequence[int], Sequence[int]]],
        size_of: Callable[[int], int],
        keys_per_layer: int,
        n_versions: int = 1,
    ) -> None:
        self.name = name
        self.pools = [pool for pool, _, _ in pools]
        n_layers = sum(len(layers) for _, layers, versions in pools if 0 in (versions or (0,)))
        self.pools_of_layer: list[list[Pool]] = [[self.pools[0]] * n_versions for _ in range(n_layers)]
        for pool, layers, versions in pools:
            for layer in layers:
                for version in versions or range(n_versions):
                    self.pools_of_layer[layer][version] = pool
        self.n_versions = n_versions
        self.observers = [p.policy for p in self.pools if type(p.policy).observe is not Eviction.observe]
        self.size_of = size_of
        self.keys_per_layer = keys_per_layer
        self.pins: dict[int, int] = {}
        self.used = 0
        self.peak = 0
        self.evictions = 0
        self.evicted_bytes = 0
        self.step = 0
        self.resident = [0] * (n_layers * keys_per_layer)
        self.on_leave: Callable[[int], None] | None = None
        self.observer: Observer | None = None
        self.residents = _Residents(self)

    def pool(self, key: int) -> Pool:
        """Return the pool that ``key`` belongs to."""
        return self.pools_of_layer[key // self.keys_per_layer][key % self.n_versions]

    def resident_steps(self, end_step: int) -> dict[int, int]:
        """Return for how many layer steps before ``end_step`` each key was counted in, in flight included.

        A key that came in step i and left in step j has j - i of them; keys with none are left out.
        """
        steps = list(self.resident)
        for pool in self.pools:
            for key in (*pool.landed, *pool.flying):
                steps[key] += end_step
        return {key: n for key, n in enumerate(steps) if n}

    def has_landed(self, key: int) -> bool:
        """Return whether ``key`` is there, whole."""
        return key in self.pool(key).landed

    def pin(self, key: int) -> None:
        """Protect ``key`` from eviction; pins are counted."""
        self.pins[key] = self.pins.get(key, 0) + 1

    def unpin(self, key: int) -> None:
        """Take one pin back."""
        left = self.pins[key] - 1
        if left:
            self.pins[key] = left
        else:
            del self.pins[key]

    def make_room(
        self, pool: Pool, n_bytes: int, blocked: Container[int], shielded: Container[int] = EMPTY
    ) -> bool:
        """Evict until ``n_bytes`` fit; return whether they do.

        ``blocked`` keys never go; ``shielded`` ones only if nobody else can.
        """
        while pool.capacity - pool.used < n_bytes:
            victim = self.victim(pool, blocked, shielded)
            if victim is None:
                return False
            self.evict(victim)
        return True

    def victim(self, pool: Pool, blocked: Container[int], shielded: Container[int] = EMPTY) -> int | None:
        """Return who would go from ``pool``: nobody blocked or in flight, shielded ones last."""
        first = self._ask(pool, blocked, shielded) if shielded else None
        return self._ask(pool, blocked, EMPTY) if first is None else first

    def _ask(self, pool: Pool, blocked: Container[int], shielded: Container[int]) -> int | None:
        nobody_of = _Either(blocked, pool.flying, shielded)
        found = pool.policy.victim(nobody_of)
        if type(found) is int and found in pool.landed and found not in blocked and found not in shielded:
            return found
        where = f"layer {self.step % len(self.pools_of_layer)}, event {self.step}, {self.name} tier"
        every = [other.landed for other in self.pools]
        return checked.judge_victim(pool.policy, found, nobody_of, pool.landed, every, where)

    def preload(self, layers_of_pools: Sequence[Sequence[int]], versions: Sequence[int]) -> None:
        """Fill the pools with what their policies start with, each in the version that is given for it.

        As far as it fits; costs no time.
        """
        for pool, layers, version in zip(self.pools, layers_of_pools, versions, strict=True):
            for expert in checked.preload(pool.policy, tuple(layers), self.keys_per_layer // self.n_versions):
                key = expert * self.n_versions + version
                if pool.used + self.size_of(key) <= pool.capacity:
                    self.take(key, None)
                    pool.policy.on_insert(key)

    def use(self, event: Event, keys: Sequence[int]) -> None:
        """Tell the policies which keys the step is served by, in the order of D, pool by pool."""
        for policy in self.observers:
            policy.observe(event, keys)
        if self.n_versions == 1:
            self.pools_of_layer[event.layer][0].policy.on_use(keys, event.index)
            return
        of_pool: dict[Pool, list[int]] = {}
        for key in keys:
            of_pool.setdefault(self.pool(key), []).append(key)
        for pool, some in of_pool.items():
            pool.policy.on_use(tuple(some), event.index)

    def take(self, key: int, flight: object | None) -> None:
        """Count ``key`` in: in flight (``flight`` is its transfer) or, with None, landed at once."""
        pool = self.pool(key)
        if flight is None:
            pool.landed.add(key)
        else:
            pool.flying[key] = flight
        size = self.size_of(key)
        pool.used += size
        self.used += size
        self.peak = max(self.peak, self.used)
        self.resident[key] -= self.step
        self._tell(key, "taken")

    def land(self, key: int) -> None:
        """The bytes of ``key`` are all there."""
        pool = self.pool(key)
        del pool.flying[key]
        pool.landed.add(key)
        self._tell(key, "landed")

    def evict(self, victim: int) -> None:
        """Let a landed key go, and count it as evicted."""
        size = self.size_of(victim)
        self.evictions += 1
        self.evicted_bytes += size
        self._forget(victim)
        self._tell(victim, "evicted")
        if self.on_leave is not None:
            self.on_leave(victim)

    def remove(self, key: int) -> None:
        """Forget ``key``, landed or in flight, and free its bytes (not counted as an eviction)."""
        self._forget(key)
        self._tell(key, "removed")

    def _forget(self, key: int) -> None:
        pool = self.pool(key)
        pool.landed.discard(key)
        pool.flying.pop(key, None)
        size = self.size_of(key)
        pool.used -= size
        self.used -= size
        self.resident[key] += self.step
        pool.policy.on_evict(key)

    def _tell(self, key: int, change: Change) -> None:
        if self.observer is not None:
            self.observer.changed(self, key, change)

    def resize(self, pool: Pool, capacity: int) -> None:
        """Change a pool's capacity between passes and evict what no longer fits."""
        pool.capacity = capacity
        self.make_room(pool, 0, self.pins)


class _Residents:
    """Membership in a tier, whichever the pool: what prefetchers may ask."""

    __slots__ = ("tier",)

    def __init__(self, tier: Tier) -> None:
        self.tier = tier

    def __contains__(self, key: object) -> bool:
        return isinstance(key, int) and self.tier.has_landed(key)


class _Either:
    """Membership in any of three containers, without building their union."""

    __slots__ = ("a", "b", "c")

    def __init__(self, a: Container[int], b: Container[int], c: Container[int]) -> None:
        self.a, self.b, self.c = a, b, c

    def __contains__(self, key: object) -> bool:
        return key in self.a or key in self.b or key in self.c
