"""The fast engine must equal the slow, plain one to the nanosecond, on scenarios full of ties.

The same scenarios every time; ``MOESIM_EXAMPLES=5000 pytest tests/engine`` looks at that many new ones.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.engine.plan import HostPlan

from .by_hand import launches
from .reference import run_reference
from .scenario import Result, Scenario
from .strategies import scenarios

asked = int(os.environ.get("MOESIM_EXAMPLES", "0"))
many = settings(
    max_examples=asked or 150,
    derandomize=not asked,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)


def fast_engine() -> Callable[[Scenario], Result]:
    if not Path(__file__).with_name("adapter.py").exists():
        pytest.skip("the fast engine has no adapter yet")
    from .adapter import run_engine

    return run_engine


def check_invariants(s: Scenario, r: Result) -> None:
    """Check what holds of every run, whatever the times are."""
    assert [p.start_ns for p in r.passes] == [0, *(p.end_ns for p in r.passes[:-1])]
    for spec, result in zip(s.passes, r.passes, strict=True):
        assert sum(result.labels.values()) == result.end_ns - result.start_ns
        assert all(result.labels.values())
        dense = sum(spec.before_ns + spec.after_ns + spec.combine_ns)
        assert result.labels.get("dense", 0) == dense + spec.prologue_ns + spec.epilogue_ns
    assert r.started == r.useful + r.unused + r.cancelled
    demands = [demand for spec in s.passes for demand in spec.demands]
    for n, demand in enumerate(demands):
        assert len(demand) == r.hits[n] + r.late[n] + r.fetched[n] + r.on_cpu[n]
        assert r.found_in_dram[n] <= r.fetched[n] + r.on_cpu[n]
    for keys, peak, pools in zip(r.resident, r.peak_bytes, s.pools, strict=True):
        assert sum(s.expert_bytes[key // s.n_experts] for key in keys) <= peak
        if s.runtime.evict == "on_insert":
            assert peak <= sum(capacity for capacity, _ in pools)


@many
@given(scenarios())
def test_the_reference_keeps_its_own_promises(s: Scenario) -> None:
    result = run_reference(s)
    check_invariants(s, result)
    assert run_reference(s, every_ns=True) == result  # no time at which something happens was missed


@many
@given(scenarios())
def test_the_engine_equals_the_reference(s: Scenario) -> None:
    assert fast_engine()(s) == run_reference(s)


@many
@given(scenarios())
def test_the_engine_keeps_its_promises(s: Scenario) -> None:
    run = fast_engine()
    result = run(s)
    check_invariants(s, result)
    assert run(s) == result


@many
@given(scenarios(), st.lists(st.booleans(), min_size=4, max_size=4))
def test_a_host_that_costs_nothing_changes_nothing(s: Scenario, seen: list[bool]) -> None:
    def with_host(host: HostPlan, *, issue: bool) -> Scenario:
        free = launches(seen[: s.n_layers]) if issue else None
        passes = tuple(replace(spec, launches=free) for spec in s.passes)
        return replace(s, runtime=replace(s.runtime, host=host), passes=passes)

    run = fast_engine()
    ideal = run(with_host(HostPlan(), issue=False))
    assert all("host" not in p.labels for p in ideal.passes)
    assert run(with_host(HostPlan(), issue=True)) == ideal
    assert run(with_host(HostPlan(blocking=True), issue=True)) == ideal
