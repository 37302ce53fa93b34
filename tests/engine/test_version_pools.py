"""Pools by version, unwanted experts, and who observes a step; by hand, with the sizes of test_axes."""

from __future__ import annotations

from collections.abc import Container, Sequence

import pytest

from policies.base import UNWANTED, Context, Event, Eviction, Prefetch, Wish
from policies.eviction.lru import LRU
from policies.registry import create
from simulator.engine.decide import PolicySet
from simulator.engine.plan import LinkPlan, MachinePlan, RuntimePlan
from simulator.engine.player import Player
from simulator.engine.tiers import Pool, Tier
from simulator.engine.wire import wire

from .test_axes import PLAIN, SIZES, Costs, Versions, mass, play


class Wants(Versions):
    """Anything serves for what is not wanted."""

    def accepts(self, version: int, wanted: int) -> bool:
        return wanted == UNWANTED or version <= wanted


class Watching(LRU):
    """An LRU that notes what it is told, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, list[int]]] = []

    def observe(self, event: Event, served: Sequence[int]) -> None:
        self.told.append(("step", list(served)))

    def on_use(self, keys: Sequence[int], event: int) -> None:
        super().on_use(keys, event)
        self.told.append(("use", list(keys)))


def machine(
    capacities: tuple[int, int],
    wanted: dict[int, int],
    prefetch: Prefetch | None = None,
    kind: type[Eviction] = LRU,
    evict: str = "on_insert",
) -> Player:
    """Return a player with two layers of four experts and a pool for each of two versions."""
    pools = []
    for version, capacity in enumerate(capacities):
        policy = kind()
        policy.bind(Context(2, 4, 2, 2, 0))
        pools.append((Pool(capacity, policy), [0, 1], [version]))
    top = Tier("gpu", pools, lambda key: SIZES[key % 2], 8, 2)
    runtime = RuntimePlan(evict=evict)  # type: ignore[arg-type]  # one of two words
    machine = MachinePlan(("gpu", "cpu"), (LinkPlan("cpu_to_gpu", 1, 0, 10**9),))
    chosen = {axis: create(axis, name) for axis, name in PLAIN.items()} | {"precision": Wants(wanted, False)}
    if prefetch is not None:
        chosen["prefetch"] = prefetch
    return wire(machine, runtime, [top], PolicySet(**chosen), Costs(), 2)


def landed(p: Player) -> list[set[int]]:
    return [pool.landed for pool in p.loader.top.pools]


def test_versions_do_not_push_each_other_out() -> None:
    wanted = {1: 1, 2: 1}
    p = machine((10, 4), wanted)
    play(p, [0, 1], [])
    play(p, [2], [], index=1)  # low: takes the place of expert 1's low version, not of expert 0
    assert landed(p) == [{0}, {2 * 2 + 1}]
    assert [pool.used for pool in p.loader.top.pools] == [10, 4]


def test_a_version_is_looked_for_in_its_own_pool() -> None:
    wanted = {0: 1}
    p = machine((10, 4), wanted)
    play(p, [0], [])
    wanted.clear()
    record = play(p, [0], [], index=1)  # only low is there, high is wanted
    assert (record.hits, record.fetched) == (0, 1)
    assert landed(p) == [{0}, {1}]
    wanted[0] = 1
    assert play(p, [0], [], index=2).hits == 1  # its own version first, though high would serve
    wanted[0] = UNWANTED
    record = play(p, [0], [], index=3)
    assert (record.hits, mass(record)) == (1, {"high": 1.0})  # of all that serve the best


def test_an_unwanted_expert_is_skipped_unless_it_is_there() -> None:
    p = machine((20, 8), {0: 1, 1: UNWANTED})
    record = play(p, [0, 1], [], mass=[0.75, 0.25])
    assert (record.lookups, record.hits, record.skipped, record.fetched) == (2, 0, 1, 1)
    assert mass(record) == {"low": 0.75, "skipped": 0.25}
    assert landed(p) == [set(), {1}]
    assert record.end_ns == 4 + 5
    play(p, [2, 3], [], index=1)
    p.decider.policies.precision.chosen = {2: UNWANTED}  # type: ignore[attr-defined]  # the class above
    record = play(p, [2], [], index=2)
    assert (record.hits, record.skipped) == (1, 0)


class Early(Prefetch):
    """Wishes for the high version of expert 5 while layer 0 runs."""

    def wishes(self, event: Event, resident: Container[int]) -> Sequence[Wish]:
        return [Wish(5 * 2, 1)] if event.layer == 0 else []


@pytest.mark.parametrize(("wanted", "late", "skipped"), [(0, 1, 0), (UNWANTED, 0, 1)])
def test_an_unwanted_expert_is_not_waited_for(wanted: int, late: int, skipped: int) -> None:
    p = machine((20, 4), {5: wanted}, Early())
    play(p, [0, 1], [])  # 5 comes last, and lands at 30 in the place of the older of the two
    p.loader.top.evict(5 * 2)
    record = play(p, [1], [5], index=1)  # 1 is a hit and computes until 5 ns later; 5 is under way until 10
    assert (record.hits, record.late, record.skipped) == (1, late, skipped)
    assert record.end_ns - record.start_ns == (15 if late else 5)


def test_each_pool_keeps_its_capacity_after_the_event() -> None:
    p = machine((10, 4), {1: 1, 3: 1}, evict="after_event")
    play(p, [0, 1], [])
    play(p, [2, 3], [], index=1)
    assert landed(p) == [{2 * 2}, {3 * 2 + 1}]


def test_observers_see_the_whole_step_before_their_pool_does() -> None:
    p = machine((20, 8), {1: 1}, kind=Watching)
    play(p, [0, 1], [4])
    high, low = (pool.policy for pool in p.loader.top.pools)
    assert isinstance(high, Watching)
    assert isinstance(low, Watching)
    assert high.told == [("step", [0, 3]), ("use", [0]), ("step", [8]), ("use", [8])]
    assert low.told == [("step", [0, 3]), ("use", [3]), ("step", [8])]


def test_preloaded_experts_come_in_the_version_of_their_pool() -> None:
    class Warm(LRU):
        def preload(self, layers: Sequence[int]) -> Sequence[int]:
            return [1, 2]

    p = machine((10, 8), {}, kind=Warm)
    p.loader.top.preload([[0, 1], [0, 1]], [0, 1])
    assert landed(p) == [{2}, {3, 5}]
