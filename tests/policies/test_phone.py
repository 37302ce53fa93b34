"""The phone's engine, to the last of its recorded hit flags (BigMoeOnEdge, docs/validation)."""

from __future__ import annotations

import csv
import re

import pytest

from simulator.engine.future import belady_hit_rate
from simulator.engine.replay import Replay
from tests.places import SHARED
from tests.policies.tools import bound, context

TRACES = SHARED / "traces" / "bigmoe"
MIB = 1 << 20

pytestmark = pytest.mark.skipif(
    not TRACES.is_dir(), reason="the bigmoe traces are not ours to ship: ../shared/traces is not here"
)


class Recording:
    """Events, their layers, and the flag that the engine wrote for each key."""

    def __init__(self, name):
        with (TRACES / f"{name}.route.csv").open(newline="") as file:
            lines = file.read().splitlines()
        comments = [line for line in lines if line.startswith("#")]
        rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
        self.n_experts = int(re.search(r"n_expert=(\d+)", comments[1])[1])
        self.sizes = [int(re.search(r"expert_bytes=(\d+)", line)[1]) for line in comments[2:]]
        steps = {}  # the prompt is one pass, every decoded token another
        for row in rows:
            step = -1 if row["phase"] == "0" else int(row["step"])
            layer = int(row["layer"])
            keys = steps.setdefault((step, layer), {})
            key = layer * self.n_experts + int(row["expert"])
            keys.pop(key, None)  # again at the end: the order is that of last occurrence
            keys[key] = row["residency"] == "1"
        order = sorted(steps)
        self.events = [list(steps[at]) for at in order]
        self.flags = [list(steps[at].values()) for at in order]
        self.layers = [layer for _, layer in order]

    def context(self):
        return context(self.events, n_layers=len(self.sizes), n_experts=self.n_experts)

    def replay(self, policy, budget_mib, evict):
        known = self.context()
        pools = [(budget_mib * MIB, range(len(self.sizes)))]
        run = Replay(pools, self.sizes, lambda: bound("eviction", policy, known), evict)
        steps = enumerate(zip(self.layers, self.events, strict=True))
        return [run.event(index, layer, keys) for index, (layer, keys) in steps], run


@pytest.fixture(scope="module")
def recordings():
    return {name: Recording(name) for name in ("qwen", "gptoss")}


@pytest.mark.parametrize(
    ("name", "budget_mib", "hits", "lookups", "peak_mib"),
    [("qwen", 4000, 29_597, 39_526, 4184.5), ("gptoss", 3000, 2_066, 6_375, 3794.7)],
)
def test_every_recorded_flag(recordings, name, budget_mib, hits, lookups, peak_mib):
    recording = recordings[name]
    flags, run = recording.replay("lru", budget_mib, "after_event")
    assert flags == recording.flags
    assert (sum(map(sum, flags)), sum(map(len, flags))) == (hits, lookups)
    assert round(run.peak_bytes / MIB, 1) == peak_mib


@pytest.mark.parametrize(("name", "budget_mib"), [("qwen", 4000), ("gptoss", 3000)])
def test_on_insert_never_exceeds_the_budget(recordings, name, budget_mib):
    _, run = recordings[name].replay("lru", budget_mib, "on_insert")
    assert run.peak_bytes <= budget_mib * MIB


@pytest.mark.parametrize("evict", ["on_insert", "after_event"])
@pytest.mark.parametrize("name", ["qwen", "gptoss"])
def test_below_one_tokens_cycle_lru_hits_nothing_and_belady_something(recordings, name, evict):
    recording = recordings[name]
    flags, _ = recording.replay("lru", 500, evict)
    assert sum(map(sum, flags)) == 0
    pools = [(500 * MIB, range(len(recording.sizes)))]
    bound = belady_hit_rate(
        recording.events, recording.layers, pools, recording.sizes, recording.context(), evict
    )
    assert bound.hit_rate > 0
    assert bound.heuristic is (len(set(recording.sizes)) > 1)
