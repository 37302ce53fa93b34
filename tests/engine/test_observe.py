"""Who is in a tier for how long, and what an observer is told: enough to work out all that is reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given

from policies.base import Context
from policies.eviction.lru import LRU
from simulator.engine.demand import Pass, PassCosts, Record
from simulator.engine.fabric import Fabric
from simulator.engine.jobs import Job, Phase
from simulator.engine.link import Link
from simulator.engine.observe import Change
from simulator.engine.tiers import Pool, Tier
from simulator.results.collect import Collector

from .adapter import run_engine
from .scenario import Scenario
from .strategies import scenarios
from .test_engines_agree import many

Span = tuple[int, int]


class Notes:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, int, int]] = []
        self.lanes: dict[tuple[str, int], list[Span]] = {}
        self.on_lane: dict[tuple[str, int], tuple[Job, int, int]] = {}
        self.phases: list[tuple[Phase, Phase]] = []
        self.moved: Counter[str] = Counter()
        self.helper: list[Span] = []
        self.inside: list[Counter[int]] = []
        self.tiers: list[Tier] = []
        self.depths: list[int] = []
        self.times: list[int] = []
        self.passes: list[tuple[int, int]] = []

    def computed(self, label: str, start_ns: int, end_ns: int, layer: int, key: int | None) -> None:
        self.spans.append((label, start_ns, end_ns))
        assert (key is not None) == (label == "expert" or label.startswith("stall_"))
        assert layer >= 0 or label in {"dense", "overhead", "host"}

    def helped(self, key: int, start_ns: int, end_ns: int) -> None:
        self.helper.append((start_ns, end_ns))

    def carried(self, link: Link, lane: int, job: Job, now_ns: int) -> None:
        where = link.plan.name, lane
        if where not in self.on_lane:
            assert job.phase in {Phase.LATENCY, Phase.MOVING}
            self.on_lane[where] = job, now_ns, job.counted
        same, since, counted = self.on_lane[where]
        assert same is job
        if job.phase is Phase.WAITING:
            del self.on_lane[where]
            self.lanes.setdefault(where, []).append((since, now_ns))
            self.moved[link.plan.name] += (job.bytes if job.left <= 0 else job.counted) - counted

    def settled(self, fabric: Fabric) -> None:
        self.times.append(fabric.now)
        assert all(job.rate > 0 for link in fabric.links for job in link.moving() if job.finish > fabric.now)

    def changed(self, tier: Tier, key: int, change: Change) -> None:
        if tier not in self.tiers:
            self.tiers.append(tier)
            self.inside.append(Counter())
        inside = self.inside[self.tiers.index(tier)]
        inside[key] += {"taken": 1, "landed": 0, "evicted": -1, "removed": -1}[change]
        assert inside[key] in {0, 1}

    def passed(self, p: Pass, record: Record) -> None:
        self.passes.append((record.start_ns, record.end_ns))


def covered(spans: Sequence[Span], start: int, end: int) -> int:
    """Return how many nanoseconds of [start, end) lie in some span."""
    total, seen = 0, start
    for a, b in sorted(spans):
        total += max(0, min(b, end) - max(a, seen))
        seen = max(seen, b)
    return total


@many
@given(scenarios())
def test_an_observer_changes_nothing_and_is_told_everything(s: Scenario) -> None:
    notes = Notes()
    r = run_engine(s, observer=notes)
    assert r == run_engine(s)
    assert notes.passes == [(p.start_ns, p.end_ns) for p in r.passes]
    assert notes.times == sorted(notes.times)
    edges = [edge for _, start, end in notes.spans for edge in (start, end)]
    assert edges == sorted(edges)
    assert edges[1:-1:2] == edges[2::2]  # without gaps
    words = {"expert": "expert_compute", "cpu_wait": "cpu_expert_wait"}
    end = r.passes[-1].end_ns
    still = {where: (since, end) for where, (_, since, _) in notes.on_lane.items()}
    for p in r.passes:
        labels: Counter[str] = Counter()
        for label, a, b in notes.spans:
            if p.start_ns <= a < p.end_ns:
                labels[words.get(label, label)] += b - a
        assert labels == p.labels
        busy = {"cpu": covered(notes.helper, p.start_ns, p.end_ns)}
        for link in s.machine.links:
            lanes = [span for (name, _), spans in notes.lanes.items() if name == link.name for span in spans]
            lanes += [span for (name, _), span in still.items() if name == link.name]
            busy[link.name] = covered(lanes, p.start_ns, p.end_ns)
        assert {name: ns for name, ns in busy.items() if ns} == p.busy
    for (name, lane), spans in notes.lanes.items():
        assert all(a[1] <= b[0] for a, b in pairwise(spans)), (name, lane)
    for (name, _), (job, _, counted) in notes.on_lane.items():
        if job.phase is Phase.COPYING:  # moved, and still on its lane
            notes.moved[name] += job.bytes - counted
    assert {name: notes.moved[name] for name in r.link_bytes} == r.link_bytes


def tier(*capacities: int) -> Tier:
    """Return a tier of two layers of four experts of one byte, with a pool for each version."""
    pools = []
    for version, capacity in enumerate(capacities):
        policy = LRU()
        policy.bind(Context(2, 4, 2, len(capacities), 0))
        pools.append((Pool(capacity, policy), [0, 1], [version]))
    return Tier("gpu", pools, lambda _key: 1, 4 * len(capacities), len(capacities))


def test_versions_are_resident_apart_and_reading_changes_nothing() -> None:
    t = tier(2, 2)
    t.step = 3
    t.take(5 * 2, None)
    t.step = 4
    t.take(5 * 2 + 1, object())
    t.step = 6
    t.evict(5 * 2)
    assert t.resident_steps(10) == t.resident_steps(10) == {10: 3, 11: 6}
    assert t.resident_steps(8) == {10: 3, 11: 4}
    t.remove(5 * 2 + 1)
    assert t.resident_steps(10) == {10: 3, 11: 2}


def test_what_is_preloaded_is_resident_from_the_first_step() -> None:
    class Warm(LRU):
        def preload(self, layers: Sequence[int]) -> Sequence[int]:
            return [1, 2]

    policy = Warm()
    policy.bind(Context(1, 4, 2, 1, 0))
    t = Tier("gpu", [(Pool(9, policy), [0], ())], lambda _key: 1, 4)
    t.preload([[0]], [0])
    t.step = 7
    t.resize(t.pools[0], 1)
    assert sorted(t.resident_steps(10).values()) == [7, 10]


def test_busy_times_are_columns_of_the_tokens_behind_the_stalls() -> None:
    collector = Collector(("up", "ssd"))
    record = Record(5, 9, stall_ns=[1, 2], busy_ns=[3, 4], busy_cpu_ns=2)
    zero = PassCosts(0, 0, [], [], [])
    collector.keep(Pass(0, True, zero, [], shares=[(0, 0, 1, True), (1, 7, 1, True)]), record)
    names = list(collector.rows)
    at = names.index("stall_ssd_ns") + 1
    assert names[at : at + 4] == ["busy_up_ns", "busy_ssd_ns", "busy_cpu_ns", "lookups"]
    assert [list(collector.rows[name]) for name in names[at : at + 3]] == [[3, 3], [4, 4], [2, 2]]
