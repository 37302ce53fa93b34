"""Curves: a policy's hit rate at many cache sizes, each by the fastest way that is exact."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle, pairwise
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from policies.base import Context, Eviction
from policies.registry import check_needs, create
from simulator.curve.events import Events, Ints, Source, blocks, events_of, header_of
from simulator.curve.kernel import BELADY, LRU, POLICIES, Cache, play
from simulator.curve.kernel import new as new_cache
from simulator.curve.next_uses import first_after, next_uses
from simulator.curve.stack import count
from simulator.curve.stack import new as new_stack
from simulator.engine import checked
from simulator.engine.future import KnownFuture
from simulator.engine.replay import Replay
from simulator.errors import InputError
from simulator.trace.core import Trace
from simulator.trace.parquet import read_trace

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
    """A trace or its file, bytes of an expert by layer, how the cache is divided, and when victims leave."""

    trace: Source
    sizes: Sequence[int]
    partition: Literal["global", "layer"] = "global"
    evict: Evict = "on_insert"


Pools = list[tuple[int, list[int]]]


class Count(NamedTuple):
    """Lookups and hits, of those the ones that decode, bytes read, and how they were counted."""

    lookups: int
    hits: int
    lookups_decode: int
    hits_decode: int
    read: int
    method: str


def curve(
    asked: Asked, policies: Sequence[str], capacities: Sequence[int], told: Told | None = None
) -> list[Point]:
    """Return a point for each policy and capacity (bytes), in their order.

    ``policies`` are names of eviction policies, or lfu-surviving: LFU whose counts survive eviction. Built-in
    ones that only rank read the trace block by block, and count all sizes on all cores; any other is replayed
    with the whole trace in memory. Errors: InputError (a policy that needs what the trace has not, or learns
    beforehand; a file that is no trace).
    """
    pools = [_pools(asked, capacity) for capacity in capacities]
    found: list[Point] = []
    for number, name in enumerate(policies):
        if told is not None:
            told(number, len(policies))
        for capacity, one in zip(capacities, _counts(name, asked, pools), strict=True):
            rate = one.hits / one.lookups if one.lookups else None
            rate_decode = one.hits_decode / one.lookups_decode if one.lookups_decode else None
            found.append(Point(name, capacity, rate, rate_decode, one.read, one.method))
    return found


def _pools(asked: Asked, capacity: int) -> Pools:
    return checked.pools(create("partition", PARTITIONS[asked.partition]), capacity, list(asked.sizes))


def _counts(name: str, asked: Asked, pools: Sequence[Pools]) -> list[Count]:
    """Return what each capacity counts."""
    if name not in POLICIES:
        return _replayed(name, asked, pools)
    if POLICIES[name] == LRU and len(set(asked.sizes)) == 1:
        return _by_stack(asked, pools)
    return _by_kernel(POLICIES[name], asked, pools)


def _by_kernel(policy: int, asked: Asked, pools: Sequence[Pools]) -> list[Count]:
    """Play each capacity's cache, on all cores, through one block of the trace after another."""
    n_experts = header_of(asked.trace).n_experts
    sizes = np.array(asked.sizes, dtype=np.int64)
    of_layer = _of_layer(pools[0], len(sizes))
    caches = [new_cache(of_layer, sizes, _capacity(one), n_experts) for one in pools]
    after = first_after(blocks(asked.trace)) if policy == BELADY else None
    lookups = np.zeros(2, dtype=np.int64)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for number, block in enumerate(blocks(asked.trace)):
            due = np.zeros(0, dtype=np.int64) if after is None else next_uses(block, after[number])
            lookups += _lookups(block)

            def on(cache: Cache, block: Events = block, due: Ints = due) -> None:
                play(
                    cache, block.keys, block.starts, block.decode, due, block.first, n_experts, policy,
                    asked.evict == "after_event",
                )  # fmt: skip

            for _ in threads.map(on, caches):
                pass
    counts = [cache.counts.tolist() for cache in caches]
    whole, decode = lookups.tolist()
    return [Count(whole, hits, decode, some, read, "kernel") for _, hits, some, read in counts]


def _lookups(block: Events) -> npt.NDArray[np.int64]:
    counts = np.diff(block.starts)
    return np.array([counts.sum(), counts[block.decode].sum()])


def _by_stack(asked: Asked, pools: Sequence[Pools]) -> list[Count]:
    """Count LRU at all capacities in one pass; those without room for a layer step by the kernel."""
    n_experts, size = header_of(asked.trace).n_experts, asked.sizes[0]
    of_layer = _of_layer(pools[0], len(asked.sizes))
    stack = new_stack(of_layer, n_experts)
    lookups = np.zeros(2, dtype=np.int64)
    for block in blocks(asked.trace):
        count(stack, block.keys, block.starts, block.decode, of_layer, n_experts)
        lookups += _lookups(block)
    below = stack.hits.cumsum(axis=2)
    whole, decode = lookups.tolist()
    found: dict[int, Count] = {}
    for number, one in enumerate(pools):
        slots = _capacity(one) // size
        if (slots >= stack.most).all():
            last = np.minimum(slots, below.shape[2]) - 1
            rest, some = below[np.arange(len(slots)), :, last][slots > 0].sum(axis=0).tolist()
            found[number] = Count(whole, rest + some, decode, some, (whole - rest - some) * size, "stack")
    narrow = [number for number in range(len(pools)) if number not in found]
    if narrow:
        played = _by_kernel(LRU, asked, [pools[number] for number in narrow])
        found.update(zip(narrow, played, strict=True))
    return [found[number] for number in range(len(pools))]


def _of_layer(pools: Pools, n_layers: int) -> npt.NDArray[np.int64]:
    of_layer = np.zeros(n_layers, dtype=np.int64)
    for number, (_, layers) in enumerate(pools):
        of_layer[layers] = number
    return of_layer


def _capacity(pools: Pools) -> npt.NDArray[np.int64]:
    return np.array([capacity for capacity, _ in pools], dtype=np.int64)


def _replayed(name: str, asked: Asked, pools: Sequence[Pools]) -> list[Count]:
    trace = asked.trace if isinstance(asked.trace, Trace) else read_trace(asked.trace)
    events = events_of(trace)
    whole, decode = _lookups(events).tolist()
    return [
        Count(whole, hits, decode, some, read, "replay")
        for hits, some, read in (_replay(name, trace, asked, events, one) for one in pools)
    ]


def _replay(name: str, trace: Trace, asked: Asked, events: Events, pools: Pools) -> tuple[int, int, int]:
    """Return hits, hits that decode, and bytes read, as the engine's replay counts them."""
    header = trace.header
    bounds = events.starts.tolist()
    steps = [events.keys[a:b].tolist() for a, b in pairwise(bounds)]
    first = create("eviction", name, "--policies")
    assert isinstance(first, Eviction)
    check_needs(first, trace, trace.source or "trace")
    if first.learns_beforehand:
        raise InputError(
            "--policies", f"{name} learns beforehand", "compare it in an experiment, with a training_share"
        )
    future = KnownFuture(steps) if "future" in first.needs else None
    context = Context(header.n_layers, header.n_experts, header.top_k, 1, 0, future=future, trace=trace,
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
    return hits, hits_decode, read
