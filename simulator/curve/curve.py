"""Curves: a policy's hit rate at many cache sizes, each by the fastest way that is exact."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle, pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from policies.base import Context, Eviction
from policies.registry import check_needs, create
from simulator.curve.events import Events, events_of
from simulator.curve.kernel import LRU, POLICIES, play
from simulator.curve.stack import distances, in_order
from simulator.engine import checked
from simulator.engine.future import KnownFuture
from simulator.engine.replay import Replay
from simulator.errors import InputError
from simulator.trace.core import Trace

Evict = Literal["on_insert", "after_event"]
Told = Callable[[int, int], None]
PARTITIONS = {"global": "global", "layer": "per-layer"}


@dataclass(frozen=True, slots=True)
class Point:
    """A cache of a size under a policy; ``method``: stack, kernel or replay. Rates may be None."""

    policy: str
    capacity_bytes: int
    hit_rate: float | None
    hit_rate_decode: float | None
    read_bytes: int
    method: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A trace, the bytes of an expert by layer, how the cache is divided, and when victims leave."""

    trace: Trace
    sizes: Sequence[int]
    partition: Literal["global", "layer"] = "global"
    evict: Evict = "on_insert"


def curve(
    asked: Asked, policies: Sequence[str], capacities: Sequence[int], told: Told | None = None
) -> list[Point]:
    """Return a point for each policy and capacity (bytes), in their order.

    ``policies`` are names of eviction policies, or lfu-surviving: LFU whose counts survive eviction. Built-in
    ones that only rank run as kernels, on all cores; any other is replayed. Errors: InputError (a policy that
    needs what the trace has not, or learns beforehand).
    """
    events = events_of(asked.trace)
    pools = [_pools(asked, capacity) for capacity in capacities]
    whole, decoded = len(events.keys), int(np.diff(events.starts)[events.decode].sum())
    found: list[Point] = []
    for number, name in enumerate(policies):
        if told is not None:
            told(number, len(policies))
        counts = _counts(name, asked, events, pools)
        for capacity, (hits, hits_decode, read, method) in zip(capacities, counts, strict=True):
            rate = hits / whole if whole else None
            rate_decode = hits_decode / decoded if decoded else None
            found.append(Point(name, capacity, rate, rate_decode, read, method))
    return found


Pools = list[tuple[int, list[int]]]
Count = tuple[int, int, int, str]


def _pools(asked: Asked, capacity: int) -> Pools:
    return checked.pools(create("partition", PARTITIONS[asked.partition]), capacity, list(asked.sizes))


def _counts(name: str, asked: Asked, events: Events, pools: Sequence[Pools]) -> Iterator[Count]:
    """Yield hits, hits that decode, bytes read and method for each capacity."""
    if name not in POLICIES:
        yield from (_replayed(name, asked, events, one) for one in pools)
        return
    if POLICIES[name] == LRU and _is_a_stack(asked, events, pools):
        yield from _by_stack(asked, events, pools)
        return
    sizes = np.array(asked.sizes, dtype=np.int64)
    due = events.next_uses() if name == "belady" else np.zeros(0, dtype=np.int64)

    def at(one: Pools) -> Count:
        capacity, of_layer = _arrays(one, len(sizes))
        counts = play(
            events.keys, events.starts, events.decode, due, sizes, of_layer, capacity, events.n_experts,
            POLICIES[name], asked.evict == "after_event",
        )  # fmt: skip
        return int(counts[0]), int(counts[1]), int(counts[2]), "kernel"

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        yield from threads.map(at, pools)


def _arrays(pools: Pools, n_layers: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    of_layer = np.zeros(n_layers, dtype=np.int64)
    for number, (_, layers) in enumerate(pools):
        of_layer[layers] = number
    return np.array([capacity for capacity, _ in pools], dtype=np.int64), of_layer


def _is_a_stack(asked: Asked, events: Events, pools: Sequence[Pools]) -> bool:
    """Return whether LRU's content is the top of one stack: one size of experts, and room for each step."""
    size = asked.sizes[0]
    if set(asked.sizes) != {size}:
        return False
    counts = np.diff(events.starts)
    most = [int(counts[layer :: events.n_layers].max(initial=0)) for layer in range(events.n_layers)]
    return all(
        capacity // size >= max(most[layer] for layer in layers) for one in pools for capacity, layers in one
    )


def _by_stack(asked: Asked, events: Events, pools: Sequence[Pools]) -> Iterator[Count]:
    size, n_keys = asked.sizes[0], events.n_layers * events.n_experts
    _, of_layer = _arrays(pools[0], events.n_layers)
    found = distances(events.keys, events.starts, of_layer, events.n_layers, n_keys, len(pools[0]))
    pool = of_layer[events.keys // events.n_experts]
    decode = np.repeat(events.decode, np.diff(events.starts))
    parts = [
        (in_order(found[pool == p]), in_order(found[(pool == p) & decode])) for p in range(len(pools[0]))
    ]
    for one in pools:
        slots = [capacity // size for capacity, _ in one]
        hits = sum(int(every.searchsorted(n)) for (every, _), n in zip(parts, slots, strict=True))
        hits_decode = sum(int(some.searchsorted(n)) for (_, some), n in zip(parts, slots, strict=True))
        yield hits, hits_decode, (len(found) - hits) * size, "stack"


def _replayed(name: str, asked: Asked, events: Events, pools: Pools) -> Count:
    header = asked.trace.header
    bounds = events.starts.tolist()
    steps = [events.keys[a:b].tolist() for a, b in pairwise(bounds)]
    first = create("eviction", name, "--policies")
    assert isinstance(first, Eviction)
    check_needs(first, asked.trace, asked.trace.source or "trace")
    if first.learns_beforehand:
        raise InputError(
            "--policies", f"{name} learns beforehand", "compare it in an experiment, with a training_share"
        )
    future = KnownFuture(steps) if "future" in first.needs else None
    context = Context(header.n_layers, header.n_experts, header.top_k, 1, 0, future=future, trace=asked.trace,
                      sizes=[list(asked.sizes)], model=header.model)  # fmt: skip

    def make() -> Eviction:
        policy = create("eviction", name, "--policies")
        assert isinstance(policy, Eviction)
        policy.bind(context)
        return policy

    run = Replay(pools, list(asked.sizes), make, asked.evict)
    hits = hits_decode = read = 0
    for index, (keys, layer) in enumerate(zip(steps, cycle(range(header.n_layers)), strict=False)):
        n = sum(run.event(index, layer, keys))
        hits += n
        hits_decode += n if events.decode[index] else 0
        read += (len(keys) - n) * asked.sizes[layer]
    return hits, hits_decode, read, "replay"
