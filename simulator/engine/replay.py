"""Hit counting without time: demand events against pools, as docs/timing.md (rule 4) orders them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from policies.base import Admission, Event, Eviction
from simulator.engine import checked

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
    with ``on_insert`` only; without it everything is let in. ``peak_bytes`` is the most that all pools
    held together.
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
        self.admission = admission
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
            keys, n = tuple(keys), len(keys)
            seen = Event(index, layer, keys, (1,) * n, (1 / n,) * n, (), decode=True)
            if self.observes:
                for other in self.pools:
                    other.policy.observe(seen, keys)
            pool.policy.on_use(keys, index)
            missed = tuple(key for key, hit in zip(keys, found, strict=True) if not hit)
            if self.after_event:
                self._take_all(pool, missed, seen)
            elif missed:
                self._take_each(pool, missed, seen)
        return found

    def _preload(self, pool: _Pool, layers: Sequence[int]) -> None:
        """Fill a pool with what its policy starts with, as far as it fits."""
        n_experts = pool.policy.context.n_experts
        for key in checked.preload(pool.policy, tuple(layers), n_experts):
            size = self.sizes[key // n_experts]
            if pool.used + size <= pool.capacity:
                self._take(pool, key, size)
                pool.policy.on_insert(key)

    def _take_each(self, pool: _Pool, missed: tuple[int, ...], event: Event) -> None:
        """Let each missed key in once there is room; who gets none is streamed."""
        size, admission, blocked = self.sizes[event.layer], self.admission, frozenset(event.keys)
        for key in missed if admission is None else checked.asked_in_order(admission, event, missed):
            while pool.capacity - pool.used < size:
                victim = self._victim(pool, blocked, event)
                if victim is None or (
                    admission is not None and not checked.admits(admission, key, victim, event)
                ):
                    break
                self._evict(pool, victim)
            else:
                self._take(pool, key, size)
        for key in missed:
            if key not in pool.resident:
                pool.policy.on_evict(key)

    def _take_all(self, pool: _Pool, missed: Sequence[int], event: Event) -> None:
        """Let all missed keys in, then make others leave until the capacity is kept, if it can be."""
        blocked = frozenset(event.keys)
        for key in missed:
            self._take(pool, key, self.sizes[event.layer])
        while pool.used > pool.capacity and (victim := self._victim(pool, blocked, event)) is not None:
            self._evict(pool, victim)

    def _victim(self, pool: _Pool, blocked: frozenset[int], event: Event) -> int | None:
        found = pool.policy.victim(blocked)
        if type(found) is int and found in pool.resident and found not in blocked:
            return found
        every = [other.resident for other in self.pools]
        return checked.judge_victim(pool.policy, found, blocked, pool.resident, every, event)

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
