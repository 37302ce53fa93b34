"""The player must equal the SimPy engine to the nanosecond, on scenarios full of ties.

The same scenarios every time; ``MOESIM_EXAMPLES=5000 pytest tests/engine`` looks at that many new ones.
"""

from __future__ import annotations

import os
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.engine.plan import HostPlan

from .adapter import run_engine, run_simpy
from .by_hand import launches
from .scenario import Result, Scenario
from .strategies import scenarios

asked = int(os.environ.get("MOESIM_EXAMPLES", "0"))
many = settings(
    max_examples=asked or 150,
    derandomize=not asked,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)


def check_invariants(s: Scenario, r: Result) -> None:
    """Check what holds of every run, whatever the times are."""
    assert [p.start_ns for p in r.passes] == [0, *(p.end_ns for p in r.passes[:-1])]
    for spec, result in zip(s.passes, r.passes, strict=True):
        assert sum(result.labels.values()) == result.end_ns - result.start_ns
        assert all(result.labels.values())
        dense = sum(spec.before_ns + spec.after_ns + spec.combine_ns)
        assert result.labels.get("dense", 0) == dense + spec.prologue_ns + spec.epilogue_ns
    assert r.started == r.useful + r.unused + r.cancelled
    found = (r.hits, r.late, r.fetched, r.on_cpu)
    demands = [demand for spec in s.passes for demand in spec.demands]
    for n, demand in enumerate(demands):
        served = sum(counts[n] for counts in found)
        assert served <= len(demand)
        assert served == len(demand) or s.script.rewritten or s.script.skipped or s.script.wanted
        assert r.found_in_dram[n] <= len(demand) - r.hits[n] - r.late[n]
    for keys, peak, pools, eviction in zip(r.resident, r.peak_bytes, s.pools, s.eviction, strict=True):
        assert sum(map(s.size_of, keys)) <= peak
        grows = any(s.script.caches.values()) or eviction == "scripted-record"
        if s.runtime.evict == "on_insert" and not grows:
            assert peak <= sum(capacity for capacity, _ in pools)


@many
@given(scenarios())
def test_engines_agree_and_keep_their_promises(s: Scenario) -> None:
    result = run_simpy(s)
    check_invariants(s, result)
    assert run_simpy(s, every_ns=True) == result  # no time at which something happens was missed
    assert run_engine(s) == result


@many
@given(scenarios(), st.lists(st.booleans(), min_size=4, max_size=4))
def test_a_host_that_costs_nothing_changes_nothing(s: Scenario, seen: list[bool]) -> None:
    def with_host(host: HostPlan, *, issue: bool) -> Scenario:
        free = launches(seen[: s.n_layers]) if issue else None
        passes = tuple(replace(spec, launches=free) for spec in s.passes)
        return replace(s, runtime=replace(s.runtime, host=host), passes=passes)

    run = run_engine
    ideal = run(with_host(HostPlan(), issue=False))
    assert all("host" not in p.labels for p in ideal.passes)
    assert run(with_host(HostPlan(), issue=True)) == ideal
    assert run(with_host(HostPlan(blocking=True), issue=True)) == ideal
