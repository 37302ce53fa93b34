"""Policy axes inside the engine: versions, rewriting, skipping, deferral, records; each worked by hand.

One layer of four experts of 10 bytes (low precision: 4), a link of 1 byte/ns, an expert computes in 5 ns.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

import pytest

from policies.base import (
    Context,
    Event,
    Eviction,
    Place,
    Placed,
    Placement,
    Precision,
    Prefetch,
    Routing,
    Wish,
)
from policies.registry import create
from simulator.engine.decide import PolicySet
from simulator.engine.demand import Pass, PassCosts, Record
from simulator.engine.plan import LinkPlan, MachinePlan, RuntimePlan
from simulator.engine.player import Player
from simulator.engine.tiers import Pool, Tier
from simulator.engine.wire import wire

SIZES = (10, 4)
PLAIN = {"admission": "always", "prefetch": "none", "precision": "fixed", "placement": "fetch",
         "routing": "as-recorded", "order": "as-routed"}  # fmt: skip


class Costs:
    """Five ns an expert."""

    activation_bytes = 1

    def expert_ns(self, layer: int, version: int, tokens: int) -> int:
        return 5

    def cpu_expert_ns(self, layer: int, version: int, tokens: int) -> int:
        return 20


def player(capacity: int, n_versions: int = 1, n_layers: int = 1, **policies: Any) -> Player:
    """Return a player with one LRU pool of ``capacity`` bytes and the given policies."""
    links = (LinkPlan("cpu_to_gpu", 1, 0, 10**9), LinkPlan("gpu_to_cpu", 0, 1, 10**9))
    lru = create("eviction", "lru")
    assert isinstance(lru, Eviction)
    lru.bind(Context(n_layers, 4, 2, n_versions, 0))
    layers = list(range(n_layers))
    pools = [(Pool(capacity, lru), layers, ())]
    top = Tier("gpu", pools, lambda key: SIZES[key % n_versions], 4 * n_versions, n_versions)
    chosen = {axis: policies.get(axis) or create(axis, name) for axis, name in PLAIN.items()}
    machine = MachinePlan(("gpu", "cpu"), links)
    return wire(machine, RuntimePlan(), [top], PolicySet(**chosen), Costs(), n_versions)


def play(p: Player, *demands: Sequence[int], mass: Sequence[float] | None = None, index: int = 0) -> Record:
    """Play a pass whose layers demand these keys, one token each."""
    zeros = [0] * len(demands)
    masses = None if mass is None else [mass] * len(demands)
    return p.play(Pass(index, True, PassCosts(0, 0, zeros, zeros, zeros), demands, None, masses))


def mass(record: Record) -> dict[str, float]:
    """Return the gate mass by how it was served, without zeros."""
    names = ("high", "low", "substituted", "deferred", "skipped")
    return {name: value for name in names if (value := round(getattr(record, f"mass_{name}"), 9))}


class Versions(Precision):
    """Wants what it is told; a low one is accepted for a high one or not."""

    def __init__(self, wanted: dict[int, int], accepts_low: bool) -> None:
        self.chosen, self.accepts_low = wanted, accepts_low

    def wanted(self, event: Event) -> Sequence[int]:
        return [self.chosen.get(key, 0) for key in event.keys]

    def accepts(self, version: int, wanted: int) -> bool:
        return version == wanted or (self.accepts_low and version > wanted)


def test_a_low_version_is_loaded_where_it_is_wanted() -> None:
    p = player(20, 2, precision=Versions({1: 1}, accepts_low=False))
    record = play(p, [0, 1], mass=[0.75, 0.25])
    assert p.loader.top.used == 10 + 4
    assert mass(record) == {"high": 0.75, "low": 0.25}
    assert record.end_ns == 10 + 5 + 5  # the low one lands at 14, while the first computes


def test_low_where_high_is_wanted_is_a_hit_if_the_policy_accepts_it() -> None:
    precision = Versions({0: 1}, accepts_low=True)
    p = player(20, 2, precision=precision)
    play(p, [0])
    precision.chosen = {}
    record = play(p, [0], index=1)
    assert (record.hits, record.misses) == (1, 0)
    assert mass(record) == {"low": 1.0}


def test_low_where_high_is_wanted_is_a_miss_if_not_and_both_take_space() -> None:
    precision = Versions({0: 1}, accepts_low=False)
    p = player(20, 2, precision=precision)
    play(p, [0])
    precision.chosen = {}
    record = play(p, [0], index=1)
    assert (record.hits, record.misses) == (0, 1)
    assert p.loader.top.pools[0].landed == {0, 1}
    assert p.loader.top.used == 14


class Low(Prefetch):
    """Wishes for the low version of expert 5 while layer 0 runs."""

    def wishes(self, event: Event, resident: Container[int]) -> Sequence[Wish]:
        return [Wish(5 * 2 + 1, 1)] if event.layer == 0 else []


def test_late_in_an_unacceptable_version_is_a_miss() -> None:
    p = player(40, 2, 2, precision=Versions({}, accepts_low=False), prefetch=Low())
    record = play(p, [0], [5])
    assert (record.late, record.misses) == (0, 2)
    p = player(40, 2, 2, precision=Versions({}, accepts_low=True), prefetch=Low())
    record = play(p, [0], [5])
    assert (record.late, record.hits, record.misses) == (0, 1, 1)  # landed at 14, routed at 15


class Rewrite(Routing):
    """Serves each key by another one, or drops it (-1)."""

    def __init__(self, instead: dict[int, int]) -> None:
        self.instead = instead

    def rewrite(self, event: Event, hit: Sequence[bool]) -> Sequence[int]:
        return [self.instead.get(key, key) for key in event.keys]


def test_lookups_are_counted_before_rewriting_and_a_substitute_is_no_miss_of_its_own() -> None:
    p = player(40, routing=Rewrite({0: 2, 1: -1}))
    record = play(p, [0, 1, 3], mass=[0.5, 0.3, 0.2])
    assert (record.lookups, record.misses) == (3, 3)
    assert (record.substituted, record.skipped, record.fetched) == (1, 1, 1)
    assert mass(record) == {"high": 0.2, "substituted": 0.5, "skipped": 0.3}
    assert p.loader.top.pools[0].landed == {2, 3}


def test_two_experts_served_by_one_run_once() -> None:
    p = player(40, routing=Rewrite({0: 1}))
    record = play(p, [0, 1])
    assert record.expert_ns == 5
    assert record.fetched == 1


class Somewhere(Placement):
    """Places every miss alike."""

    uses_cpu = True

    def __init__(self, placed: Placed) -> None:
        self.placed = placed

    def place(self, event: Event, missed: Sequence[int], in_dram: Sequence[bool]) -> Sequence[Placed]:
        return [self.placed] * len(missed)


def test_a_skipped_miss_costs_no_time_and_all_its_mass() -> None:
    p = player(40, placement=Somewhere(Placed(Place.SKIP)))
    record = play(p, [0, 1], mass=[0.6, 0.4])
    assert (record.end_ns, record.skipped, record.fetched) == (0, 2, 0)
    assert mass(record) == {"skipped": 1.0}
    assert not p.loader.top.pools[0].landed


def test_on_the_cpu_an_expert_waits_for_activations_both_ways() -> None:
    record = play(player(40, placement=Somewhere(Placed(Place.CPU))), [0])
    assert record.cpu_wait_ns == record.end_ns == 1 + 20 + 1
    assert (record.on_cpu, record.deferred, mass(record)) == (1, 0, {"high": 1.0})


def test_a_deferred_expert_is_waited_for_a_layer_later() -> None:
    p = player(40, n_layers=2, placement=Somewhere(Placed(Place.CPU, defer_layers=1)))
    record = play(p, [0], [4])
    assert record.deferred == 2
    assert mass(record) == {"deferred": 2.0}
    assert record.end_ns == 1 + 20 + 20 + 1  # both groups in a row; the first one's outputs return meanwhile


class Record4(Eviction):
    """A record: expert 0 was resident in pass 1, expert 1 was not."""

    def residency(self, event: Event) -> Sequence[bool]:
        return [key == 0 and event.index == 1 for key in event.keys]

    def on_use(self, keys: Sequence[int], event: int) -> None:
        pass

    def on_evict(self, key: int) -> None:
        pass

    def victim(self, blocked: Container[int]) -> int | None:
        return None


def test_a_recorded_residency_overrules_what_is_there() -> None:
    p = player(40)
    p.loader.top.pools[0].policy = Record4()
    assert play(p, [1]).hits == 0
    record = play(p, [0, 1], index=1)
    assert (record.hits, record.misses) == (1, 1)  # 0 was put there, 1 was taken away
    assert p.loader.top.evictions == 1


def test_a_smaller_capacity_evicts_between_passes() -> None:
    p = player(30)
    play(p, [0, 1, 2])
    top = p.loader.top
    top.resize(top.pools[0], 15)
    assert top.pools[0].landed == {2}


def test_preloaded_experts_are_hits() -> None:
    class Start(Record4):
        def preload(self, layers: Sequence[int]) -> Sequence[int]:
            return [3, 2, 1, 0]

        def residency(self, event: Event) -> Sequence[bool] | None:  # type: ignore[override]
            return None

        def on_insert(self, key: int) -> None:
            pass

    p = player(25)
    p.loader.top.pools[0].policy = Start()
    p.loader.top.preload([[0]], [0])
    assert p.loader.top.pools[0].landed == {3, 2}
    assert play(p, [2, 3]).hits == 2


def test_an_engine_that_can_go_nowhere_says_so() -> None:
    p = player(40)
    p.fabric.step = lambda: False  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="nothing moves, yet expert 0 is awaited"):
        play(p, [0])
