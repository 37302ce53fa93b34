"""Tiers and their pools: who is where, how many bytes that is, and who has to leave."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence

from policies.base import Eviction

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
    """A caching tier: pools over layers, pins, and the accounting that no policy can break.

    ``size_of`` gives the bytes of an entry. ``on_leave`` is told of every entry that leaves.
    """

    def __init__(
        self,
        name: str,
        pools: Sequence[tuple[Pool, Sequence[int]]],
        size_of: Callable[[int], int],
        keys_per_layer: int,
    ) -> None:
        self.name = name
        self.pools = [pool for pool, _ in pools]
        by_layer = {layer: pool for pool, layers in pools for layer in layers}
        self.pool_of_layer = [by_layer[layer] for layer in range(len(by_layer))]
        self.size_of = size_of
        self.keys_per_layer = keys_per_layer
        self.pins: dict[int, int] = {}
        self.used = 0
        self.peak = 0
        self.evictions = 0
        self.evicted_bytes = 0
        self.on_leave: Callable[[int], None] | None = None
        self.residents = _Residents(self)

    def pool(self, key: int) -> Pool:
        """Return the pool of the layer that ``key`` belongs to."""
        return self.pool_of_layer[key // self.keys_per_layer]

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
        first = None
        if shielded:
            first = pool.policy.victim(_Either(blocked, pool.flying, shielded))
        return pool.policy.victim(_Either(blocked, pool.flying, EMPTY)) if first is None else first

    def preload(self, layers_of_pools: Sequence[Sequence[int]], n_versions: int) -> None:
        """Fill the pools with what their policies start with, as far as it fits; costs no time."""
        for pool, layers in zip(self.pools, layers_of_pools, strict=True):
            for expert in pool.policy.preload(layers):
                key = expert * n_versions
                if pool.used + self.size_of(key) <= pool.capacity:
                    self.take(key, None)
                    pool.policy.on_insert(key)

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

    def land(self, key: int) -> None:
        """The bytes of ``key`` are all there."""
        pool = self.pool(key)
        del pool.flying[key]
        pool.landed.add(key)

    def evict(self, victim: int) -> None:
        """Let a landed key go, and count it as evicted."""
        size = self.size_of(victim)
        self.evictions += 1
        self.evicted_bytes += size
        self.remove(victim)
        if self.on_leave is not None:
            self.on_leave(victim)

    def remove(self, key: int) -> None:
        """Forget ``key``, landed or in flight, and free its bytes (not counted as an eviction)."""
        pool = self.pool(key)
        pool.landed.discard(key)
        pool.flying.pop(key, None)
        size = self.size_of(key)
        pool.used -= size
        self.used -= size
        pool.policy.on_evict(key)

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
