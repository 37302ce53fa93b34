"""Hit counting without time: demand events against pools, as docs/timing.md (rule 4) orders them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from policies.admission.always import Always
from policies.base import Admission, Event, Eviction

Evict = Literal["on_insert", "after_event"]


class _Pool:
    """A capacity, a policy, and who is resident with how many bytes."""

    __slots__ = ("capacity", "policy", "resident", "used")

    def __init__(self, capacity: int, policy: Eviction) -> None:
        self.capacity, self.policy = capacity, policy
        self.resident: dict[int, int] = {}
        self.used = 0


class Replay:
    """A caching tier on its own: what the engine does without prefetches, rewriting and CPU placement.

    ``pools`` are (capacity in bytes, layers); ``sizes`` [L] the bytes of one expert of each layer.
    ``make_policy`` makes a bound eviction policy for each pool. ``admission``, bound too, has a say
    with ``on_insert`` only. ``peak_bytes`` is the most that all pools held together.
    """

    def __init__(
        self,
        pools: Sequence[tuple[int, Sequence[int]]],
        sizes: Sequence[int],
        make_policy: Callable[[], Eviction],
        evict: Evict = "on_insert",
        admission: Admission | None = None,
    ) -> None:
        self.sizes = sizes
        self.after_event = evict == "after_event"
        self.admission = admission or Always()
        self.used_bytes = 0
        self.peak_bytes = 0
        self.pool_of_layer: dict[int, _Pool] = {}
        self.pools: list[_Pool] = []
        for capacity, layers in pools:
            pool = _Pool(capacity, make_policy())
            self.pools.append(pool)
            self.pool_of_layer.update(dict.fromkeys(layers, pool))
            self._preload(pool, layers)
        self.observes = any(type(pool.policy).observe is not Eviction.observe for pool in self.pools)

    def event(self, index: int, layer: int, keys: Sequence[int]) -> list[bool]:
        """Play a layer step; return which of its keys hit.

        ``keys`` are distinct and in order of last occurrence; without any there is no event.
        """
        pool = self.pool_of_layer[layer]
        resident = pool.resident
        found = [key in resident for key in keys]
        if keys:
            if self.observes:
                seen = Event(
                    index, layer, keys, [1] * len(keys), [1 / len(keys)] * len(keys), (), decode=True
                )
                for other in self.pools:
                    other.policy.observe(seen, keys)
            pool.policy.on_use(keys, index)
            missed = [key for key, hit in zip(keys, found, strict=True) if not hit]
            if self.after_event:
                self._take_all(pool, missed, layer, frozenset(keys))
            elif missed:
                self._take_each(pool, missed, layer, frozenset(keys), index)
        return found

    def _preload(self, pool: _Pool, layers: Sequence[int]) -> None:
        """Fill a pool with what its policy starts with, as far as it fits."""
        for key in pool.policy.preload(layers):
            size = self.sizes[key // pool.policy.context.n_experts]
            if pool.used + size <= pool.capacity:
                self._take(pool, key, size)
                pool.policy.on_insert(key)

    def _take_each(
        self, pool: _Pool, missed: Sequence[int], layer: int, blocked: frozenset[int], index: int
    ) -> None:
        """Let each missed key in once there is room; who gets none is streamed."""
        size, policy, admits = self.sizes[layer], pool.policy, self.admission.admits
        for key in self.admission.order(missed, index):
            while pool.capacity - pool.used < size:
                victim = policy.victim(blocked)
                if victim is None or not admits(key, victim, index):
                    break
                self._evict(pool, victim)
            else:
                self._take(pool, key, size)
        for key in missed:
            if key not in pool.resident:
                policy.on_evict(key)

    def _take_all(self, pool: _Pool, missed: Sequence[int], layer: int, blocked: frozenset[int]) -> None:
        """Let all missed keys in, then make others leave until the capacity is kept, if it can be."""
        for key in missed:
            self._take(pool, key, self.sizes[layer])
        while pool.used > pool.capacity and (victim := pool.policy.victim(blocked)) is not None:
            self._evict(pool, victim)

    def _take(self, pool: _Pool, key: int, size: int) -> None:
        pool.resident[key] = size
        pool.used += size
        self.used_bytes += size
        self.peak_bytes = max(self.peak_bytes, self.used_bytes)

    def _evict(self, pool: _Pool, victim: int) -> None:
        size = pool.resident.pop(victim)
        pool.used -= size
        self.used_bytes -= size
        pool.policy.on_evict(victim)


def replay(
    events: Iterable[Sequence[int]],
    layers: Iterable[int],
    pools: Sequence[tuple[int, Sequence[int]]],
    sizes: Sequence[int],
    make_policy: Callable[[], Eviction],
    *,
    evict: Evict = "on_insert",
    admission: Admission | None = None,
) -> list[int]:
    """Return the hits of each event.

    ``events`` lists the keys of each layer step, ``layers`` its layer (and may go on for ever, as
    ``cycle(range(n_layers))`` does); the rest is as in ``Replay``.
    """
    run = Replay(pools, sizes, make_policy, evict, admission)
    steps = enumerate(zip(events, layers, strict=False))
    return [sum(run.event(index, layer, keys)) for index, (keys, layer) in steps]
