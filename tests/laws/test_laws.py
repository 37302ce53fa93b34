"""Metamorphic laws: what must hold whatever the system; docs/background/laws.md says why, and where not.

A share of the cases runs with the suite; ``make laws`` runs them all (``MOESIM_LAWS=all``).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from math import ceil

import pytest

from simulator.errors import InputError
from simulator.experiment.systems import system_names
from simulator.trace.parquet import read_trace
from simulator.trace.parts import spans, split
from tests.laws.played import (
    Case,
    Outcome,
    machine,
    play,
    recorded,
    with_clock,
    with_free_ssd,
    with_link,
    with_other_ids,
)
from tests.places import ROOT

GPU, UNIFIED = "rtx4090-pcie4", "jetson-agx-orin-32gb"
WHOLE = os.environ.get("MOESIM_LAWS") == "all"
NEEDS_CPU = ("has no CPU beside a GPU", "exclusive needs a link gpu_to_cpu")

# Systems for which a law does not hold, each explained in docs/background/laws.md.
COMPUTE_IN_DRAM = {
    "exllamav3-stream", "fiddler", "freetoken-hybrid", "hobbit-cpu", "hybrimoe", "ktransformers",
    "llama-cpp-moe-cache", "llama-cpp-n-cpu-moe", "static-cpu-experts",
}  # fmt: skip
DECIDE_ALONE = {"fiddler"}
ORDER_BY_ID = {"deepspeed-inference"}
DRAW_BY_ID = {"expertflow", "promoe", "sida"}
COUNTS_TIE = {
    "edgemoe", "fiddler", "freetoken-hybrid", "hobbit", "hobbit-cpu", "hybrimoe", "ktransformers",
    "moe-apex", "moe-infinity", "static-cpu-experts", "vllm-expert-cache",
}  # fmt: skip


def share(cases: Sequence[Case], every: int) -> list[Case]:
    """Return the cases that run now: all of them, or every so many."""
    return list(cases) if WHOLE else list(cases[::every])


def played(case: Case, **changes: object) -> Outcome:
    """Play a case; skip it where the machine cannot run that system."""
    try:
        return play(case, **changes)  # type: ignore[arg-type]
    except InputError as error:
        if any(reason in str(error) for reason in NEEDS_CPU):
            pytest.skip(str(error))
        raise


TWO = [Case(s, m, b) for s in system_names() for m in (GPU, UNIFIED) for b in (1, 4)]
THREE = [Case(s, GPU, b, d) for s in system_names() for b in (1, 4) for d in (0.25, 0.5, 0.75)]


@pytest.mark.parametrize("case", share([*TWO, *THREE], 43), ids=str)
def test_a_faster_link_is_not_slower(case: Case) -> None:
    base = played(case)
    profile = machine(case.machine)
    slower = []
    for name in base.link_names:
        if case.system in DECIDE_ALONE and name == "cpu_to_gpu":
            continue
        for factor in (2, 8):
            ratio = played(case, hardware=with_link(profile, name, factor)).end_ns / base.end_ns
            if ratio > 1.01:
                slower.append(f"{name} x {factor}: {ratio:.3f} of the time")
    assert not slower, slower


@pytest.mark.parametrize("system", sorted(DECIDE_ALONE))
def test_what_decides_expert_by_expert_is_rightly_excepted(system: str) -> None:
    case = Case(system, GPU, 4, 0.75)
    faster = played(case, hardware=with_link(machine(GPU), "cpu_to_gpu", 4))
    assert faster.end_ns > 1.01 * played(case).end_ns
    assert faster.total("on_cpu") == 0 < played(case).total("on_cpu")


def beside_free_ssd(case: Case) -> float:
    """Return the time with a free SSD as a share of the time without one."""
    two = played(replace(case, dram=None)).end_ns
    return played(case, hardware=with_free_ssd(machine(case.machine))).end_ns / two


@pytest.mark.parametrize("case", share([c for c in THREE if c.system not in COMPUTE_IN_DRAM], 23), ids=str)
def test_a_free_ssd_equals_two_tiers(case: Case) -> None:
    assert beside_free_ssd(case) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("system", share(sorted(COMPUTE_IN_DRAM), 4))
def test_what_computes_only_in_dram_is_rightly_excepted(system: str) -> None:
    assert beside_free_ssd(Case(system, GPU, 4, 0.25)) > 1.01


@pytest.mark.parametrize("partition", ["global", "per-layer"])
@pytest.mark.parametrize("batch", [1, 4])
def test_more_cache_never_hits_less_under_belady(partition: str, batch: int) -> None:
    fractions = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
    hits = [
        played(
            Case("belady", GPU, batch),
            memory={"gpu_expert_cache": {"fraction": f}},
            policies={"partition": partition},
        ).total("hits")
        for f in fractions
    ]
    assert hits == sorted(hits)


@pytest.mark.parametrize("case", share([*TWO, *THREE], 37), ids=str)
def test_ten_times_all_constants_is_ten_times_the_time(case: Case) -> None:
    base, slow = played(case), played(case, hardware=with_clock(machine(case.machine), 10))
    assert slow.end_ns / base.end_ns == pytest.approx(10, rel=1e-3)


@pytest.mark.parametrize("case", share(TWO, 13), ids=str)
def test_other_expert_ids_change_nothing_but_ties(case: Case) -> None:
    base, other = played(case), played(case, trace=with_other_ids(recorded(), 1))
    if case.system in COUNTS_TIE | ORDER_BY_ID | DRAW_BY_ID:
        assert other.end_ns / base.end_ns == pytest.approx(1, abs=0.01)
    else:
        assert [r.end_ns - r.start_ns for r in base.records] == [r.end_ns - r.start_ns for r in other.records]


@pytest.mark.parametrize("software", ["ideal", None], ids=["ideal", "its own software"])
@pytest.mark.parametrize("case", share([*TWO, *THREE], 29), ids=str)
def test_labels_bytes_and_stalls_add_up(case: Case, software: str | None) -> None:
    run = played(case, software=software)
    for r in run.records:
        assert (
            r.dense_ns + r.expert_ns + r.cpu_wait_ns + r.overhead_ns + r.host_ns + sum(r.stall_ns)
            == r.end_ns - r.start_ns
        )
        if r.misses == r.late == 0:
            assert sum(r.stall_ns) == 0, "a stall without a miss"
    (size,) = set(run.sizes)
    demand = run.total("demand_bytes")
    if run.n_versions == 1:
        assert demand == run.total("fetched") * size
    on_cpu = run.total("on_cpu") + run.total("deferred")
    outputs = run.link_bytes["gpu_to_cpu"] if on_cpu else 0  # as many bytes as went down to the CPU
    prefetched = run.link_bytes["cpu_to_gpu" if case.machine == GPU else "ssd_to_gpu"] - demand - outputs
    assert 0 <= prefetched <= run.started * size


def test_on_a_tiny_run_a_free_ssd_lets_a_prefetch_go_before_hobbits_misses() -> None:
    """docs/background/laws.md says by how much: on the quickstart's machine and what it replays."""
    machine_name, every = "rtx3060-12gb-pcie4", read_trace(ROOT / "traces" / "olmoe-mini.parquet")
    learnt, replayed = split(every, ceil(len(spans(every)) / 4))

    def decoding(tokens: int, dram: float | None) -> int:
        hardware = machine(machine_name) if dram is None else with_free_ssd(machine(machine_name))
        outcome = play(
            Case("hobbit", machine_name, 4, dram),
            hardware=hardware,
            trace=replayed,
            training=learnt,
            workload={"batch_size": 4, "max_sequences": 4, "max_decode_tokens": tokens},
            memory={"gpu_expert_cache": {"fraction": 0.5}},
        )
        return sum(record.end_ns - record.start_ns for record in outcome.records[-tokens:])

    assert decoding(4, 1.0) / decoding(4, None) == pytest.approx(1.014, abs=0.001)
    assert decoding(16, 1.0) / decoding(16, None) == pytest.approx(1.007, abs=0.001)
