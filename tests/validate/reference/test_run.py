"""The reference run: its hits are the simulator's, and each expert's bytes are its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from simulator.machine.hardware import load_hardware
from simulator.validate.reference.cache import ExpertCache
from simulator.validate.reference.machine import CpuMachine
from simulator.validate.reference.run import ReferenceRun, Settings
from simulator.validate.reference.simulate import decoded, simulate
from tests.validate.reference.made_up import NONE, SHAPE, E, K, L, a_trace, dry


def test_the_least_recently_used_goes() -> None:
    cache = ExpertCache(2)
    assert cache.take(1, spare=False) == 0
    assert cache.take(2, spare=False) == 1
    cache.flying.clear()
    cache.use([1, 7])  # 7 is not there
    assert cache.take(3, spare=False) == 1
    assert set(cache.slot) == {1, 3}


def test_who_is_pinned_in_flight_or_shielded_stays() -> None:
    cache = ExpertCache(3)
    for key in (1, 2, 3):
        cache.take(key, spare=False)
    cache.flying = {2}
    cache.pinned = frozenset({1})
    cache.shields = {3: 9}
    assert cache.take(4, spare=True) is None
    assert cache.take(4, spare=False) == 2  # shielded experts go where nobody else can
    assert cache.take(5, spare=False) is None


@pytest.mark.parametrize("slots", [6, 12, 24, 36])
def test_hits_are_those_of_the_simulator(slots: int) -> None:
    trace = decoded(a_trace(200), SHAPE, 1000)
    settings = Settings(slots, 2, prefetch=False)
    logs = dry(trace, settings).run()
    records = simulate(trace, SHAPE, settings, load_hardware("oneplus-15r"), NONE)
    assert [log.hits for log in logs] == [record.hits for record in records]
    assert [log.bytes for log in logs] == [record.demand_bytes for record in records]
    assert all(log.lookups == L * K and log.late == 0 for log in logs)


@pytest.mark.parametrize("weights", [True, False])
def test_a_run_that_prefetches_serves_every_expert(*, weights: bool) -> None:
    trace = decoded(a_trace(200, weights=weights), SHAPE, 1000)
    logs = dry(trace, Settings(8, 2, prefetch=True)).run()
    on_demand = dry(trace, Settings(8, 2, prefetch=False)).run()
    assert sum(log.hits + log.late for log in logs) > sum(log.hits for log in on_demand)
    assert all(log.hits + log.late <= log.lookups == L * K for log in logs)
    assert all(log.wall_ns >= log.dense_ns + log.expert_ns + log.stall_ns for log in logs)


def test_a_prefetch_that_finds_no_space_is_dropped() -> None:
    trace = decoded(a_trace(), SHAPE, 10)
    run = dry(trace, Settings(4, 1, prefetch=True))
    run.cache.pinned = frozenset(range(4))
    for key in range(4):
        run.cache.take(key, spare=False)
    assert run._begin(9) is None
    assert run.prefetched_bytes == 0


def test_wishes_are_the_next_layers_likeliest_first() -> None:
    trace = decoded(a_trace(), SHAPE, 10)
    predicted = trace.predicted[0].copy()
    predicted[0, 0] = (7, -1)
    run = dry(replace(trace, predicted=(predicted,)), Settings(6, 1, prefetch=True))
    assert [read.key for read in run._wishes(0, 0, 0)] == [E + 7]  # -1: nothing was predicted
    both = trace.predicted[0][1, 0][np.argsort(-trace.predicted_weights[0][1, 0])]
    assert [read.key for read in run._wishes(1, 0, 3)] == (E + both).tolist()
    assert run.cache.shields[E + int(both[0])] == 4
    assert list(run._wishes(1, L - 1, 5)) == []


def test_reads_move_the_bytes_of_the_right_expert(tmp_path: Path) -> None:
    """Every expert in the cache at the end has the bytes that lie at its place in the file."""
    trace = decoded(a_trace(), SHAPE, 20)
    path = tmp_path / "experts"
    rng = np.random.default_rng(0)
    experts = (rng.random((L * E, 3, 32, 32), dtype=np.float32) / 1024).astype(np.float32)
    path.write_bytes(experts.tobytes())
    with path.open("rb") as file:
        machine = CpuMachine(file.fileno(), SHAPE, L, L * E)
        memory = machine.memory(10)
        run = ReferenceRun(trace, machine, Settings(10, 2, prefetch=True), memory)
        calls: list[int] = []
        logs = run.run(calls.append)
    assert calls == list(range(20))
    landed = set(run.cache.slot) - run.cache.flying
    assert len(landed) >= 8
    for key in landed:
        assert np.array_equal(memory.weights[run.cache.slot[key]], experts[key])
    assert sum(log.bytes for log in logs) % SHAPE.expert_bytes == 0
