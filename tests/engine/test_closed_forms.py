"""Runs small enough to be worked out by hand; the arithmetic stands beside each.

Unless a test says otherwise: 10 bytes an expert, links of 1 byte/ns without latency, 5 ns of compute
an expert, no dense work, one layer of 4 experts, room for everything, LRU, two tiers. ``up`` is the
link from DRAM to the GPU, ``down`` the other way, ``ssd`` the one from the SSD to DRAM.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from simulator.engine.plan import LinkPlan, MachinePlan, Overhead, RuntimePlan

from .reference import run_reference
from .scenario import PassSpec, Result, Scenario

GB = 10**9  # one byte a nanosecond
PLENTY = 1000
UP = LinkPlan("up", 1, 0, GB)
DOWN = LinkPlan("down", 0, 1, GB)
SSD = LinkPlan("ssd", 2, 1, GB)
Run = Callable[[Scenario], Result]
Demand = Sequence[int | tuple[int, int]]


@pytest.fixture(params=["reference", "engine"])
def run(request: pytest.FixtureRequest) -> Run:
    if request.param == "reference":
        return run_reference
    if not Path(__file__).with_name("adapter.py").exists():
        pytest.skip("the fast engine has no adapter yet")
    from .adapter import run_engine

    return run_engine


def scenario(  # noqa: PLR0913 - every test names the one thing that it changes
    *passes: Sequence[Demand],
    links: tuple[LinkPlan, ...] = (UP, DOWN),
    gpu: int = PLENTY,
    cpu: int | None = None,
    runtime: RuntimePlan | None = None,
    dense: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0),
    expert_bytes: int = 10,
    expert_ns: int = 5,
    token_ns: int = 0,
    cpu_ns: int = 1,
    activation_bytes: int = 0,
    dram: int = 0,
    wishes: Mapping[int, tuple[tuple[int, int], ...]] | None = None,
    on_cpu: Mapping[int, Mapping[int, int]] | None = None,
) -> Scenario:
    """Build a run; a pass is a demand by layer, ``cpu`` the capacity of DRAM before an SSD.

    ``dense`` is (prologue, before, after, combine, epilogue).
    """
    n = len(passes[0])
    prologue, before, after, combine, epilogue = dense
    specs = [
        PassSpec(
            prologue_ns=prologue,
            epilogue_ns=epilogue,
            before_ns=(before,) * n,
            after_ns=(after,) * n,
            combine_ns=(combine,) * n,
            demands=tuple(tuple(d if isinstance(d, tuple) else (d, 1) for d in layer) for layer in layers),
        )
        for layers in passes
    ]
    capacities = [gpu] if cpu is None else [gpu, cpu]
    return Scenario(
        machine=MachinePlan(("gpu", "cpu", "ssd")[: len(capacities) + 1], links, dram),
        runtime=runtime or RuntimePlan(),
        n_layers=n,
        n_experts=4,
        expert_bytes=(expert_bytes,) * n,
        pools=tuple(((capacity, tuple(range(n))),) for capacity in capacities),
        eviction=("lru",) * len(capacities),
        passes=tuple(specs),
        expert_ns=(expert_ns,) * n,
        expert_token_ns=token_ns,
        cpu_expert_ns=(cpu_ns,) * n,
        activation_bytes=activation_bytes,
        wishes=wishes or {},
        on_cpu=on_cpu or {},
    )


def ends(result: Result) -> list[int]:
    return [p.end_ns for p in result.passes]


def test_a_miss_is_stalled_for_and_a_hit_is_not(run: Run) -> None:
    r = run(scenario([[0]], [[0]], dense=(4, 3, 2, 1, 6)))
    # Pass 1: prologue 4, before 3: routed at 7; the transfer lands at 17; after until 9, stall 8,
    # expert until 22, combine 23, epilogue 29. Pass 2: the same without the stall: 21.
    assert ends(r) == [29, 50]
    assert r.passes[0].labels == {"dense": 16, "stall_up": 8, "expert_compute": 5}
    assert r.passes[1].labels == {"dense": 16, "expert_compute": 5}
    assert (r.hits, r.late, r.fetched) == ((0, 1), (0, 0), (1, 0))
    assert r.link_bytes["up"] == 10
    assert r.peak_bytes == (10,)
    assert r.resident == (frozenset({0}),)


def test_a_step_without_demand_is_only_dense(run: Run) -> None:
    r = run(scenario([[], []], dense=(1, 2, 3, 4, 5)))
    assert ends(r) == [1 + 2 * (2 + 3 + 4) + 5]
    assert r.passes[0].labels == {"dense": 24}


def test_two_misses_use_a_link_in_order(run: Run) -> None:
    r = run(scenario([[1, 0]], links=(replace(UP, latency_ns=2), DOWN)))
    # 1: latency until 2, lands at 12, computes until 17. 0: latency until 14, lands at 24, until 29.
    assert ends(r) == [29]
    assert r.passes[0].labels == {"stall_up": 12 + 7, "expert_compute": 10}


def test_a_quotient_is_rounded_up_once(run: Run) -> None:
    # 10 bytes at 3 bytes/ns: 3.33, so 4 ns each, one after another: 4 and 8; computed at 9 and 14.
    assert ends(run(scenario([[0, 1]], links=(replace(UP, bytes_per_s=3 * GB), DOWN)))) == [14]


def test_two_lanes(run: Run) -> None:
    two = replace(UP, lanes=2, bytes_per_s=2 * GB, lane_bytes_per_s=GB)
    assert ends(run(scenario([[0, 1]], links=(two, DOWN)))) == [10 + 5 + 5]


def test_two_lanes_share_the_total_rate(run: Run) -> None:
    two = replace(UP, lanes=2, bytes_per_s=3 * GB // 2, lane_bytes_per_s=GB)
    # 0 and 1 at 0.75 byte/ns: 13.33, so both land at 14; 2 alone at 1 byte/ns lands at 24.
    assert ends(run(scenario([[0, 1, 2]], links=(two, DOWN)))) == [24 + 5]
    # One rate for all: 0 and 1 at 0.5 land at 20.
    assert ends(run(scenario([[0, 1]], links=(replace(two, bytes_per_s=GB), DOWN)))) == [20 + 10]


def test_an_expert_is_split_over_lanes(run: Run) -> None:
    split = replace(UP, lanes=2, bytes_per_s=2 * GB, lane_bytes_per_s=GB, split=True)
    # 11 bytes: 6 and 5, so 6 ns.
    assert ends(run(scenario([[0]], links=(split, DOWN), expert_bytes=11))) == [6 + 5]
    # In all 1 byte/ns: each at 0.5 until 10, when the 5 are done; the sixth byte alone until 11.
    assert ends(run(scenario([[0]], links=(replace(split, bytes_per_s=GB), DOWN), expert_bytes=11))) == [
        11 + 5
    ]
    # As many lanes, but in one piece.
    assert ends(run(scenario([[0]], links=(replace(split, split=False), DOWN), expert_bytes=11))) == [11 + 5]


def test_a_measured_table(run: Run) -> None:
    table = ((4, 1, GB), (4, 2, 3 * GB // 2), (12, 1, 2 * GB))
    measured = replace(UP, lanes=3, table=table)
    # Blocks of 10 are read from the row of 4. Three lanes: the entry of 2, 1.5 in all, 0.5 each: 20 ns.
    assert ends(run(scenario([[0, 1, 2]], links=(measured, DOWN)))) == [20 + 15]
    # Blocks of 3 are below the smallest row, which serves: 3 ns at 1 byte/ns.
    assert ends(run(scenario([[0]], links=(measured, DOWN), expert_bytes=3))) == [3 + 5]
    # Blocks of 12 and two lanes: the entry of 1, 2 in all, 1 each: 12 ns.
    assert ends(run(scenario([[0, 1]], links=(measured, DOWN), expert_bytes=12))) == [12 + 10]


@pytest.mark.parametrize(("first", "second"), [(GB, 2 * GB), (2 * GB, GB)])
def test_two_hops_are_pipelined_by_chunk(run: Run, first: int, second: int) -> None:
    ssd, up = replace(SSD, bytes_per_s=first, chunk_bytes=2), replace(UP, bytes_per_s=second)
    r = run(scenario([[0]], links=(ssd, up, DOWN), cpu=PLENTY))
    # Slow, fast: 10 ns for all on the first hop, and 1 for the last chunk on the second.
    # Fast, slow: 1 for the first chunk on the first hop, and 10 for all on the second.
    assert ends(r) == [11 + 5]
    first_ended = 10 if first == GB else 5
    assert r.passes[0].labels == {"stall_ssd": first_ended, "stall_up": 11 - first_ended, "expert_compute": 5}
    assert r.link_bytes == {"ssd": 10, "up": 10, "down": 0}
    assert r.found_in_dram == (0,)
    assert r.resident == (frozenset({0}), frozenset({0}))


def test_a_chunk_that_follows_at_once_pays_no_latency(run: Run) -> None:
    ssd, up = replace(SSD, chunk_bytes=2), replace(UP, bytes_per_s=2 * GB, latency_ns=3)
    r = run(scenario([[0]], [[0]], links=(ssd, up, DOWN), cpu=PLENTY, gpu=0))
    # Chunks are in DRAM at 2, 4, 6, 8, 10. The first lands at 2 + 3 + 1 = 6, the next three follow at
    # once: 7, 8, 9; at 9 the fifth is not there yet, so it pays again: 10 + 3 + 1 = 14.
    # Pass 2 finds it in DRAM: 3 + 5 = 8.
    assert ends(r) == [14 + 5, 19 + 8 + 5]
    assert r.found_in_dram == (0, 1)
    assert r.passes[0].labels == {"stall_ssd": 10, "stall_up": 4, "expert_compute": 5}
    assert r.resident == (frozenset(), frozenset({0}))


def test_without_chunks_two_hops_follow_each_other(run: Run) -> None:
    # 0: 0..10 and 10..20; 1: 10..20 and 20..30.
    assert ends(run(scenario([[0, 1]], links=(SSD, UP, DOWN), cpu=PLENTY))) == [30 + 5]


@pytest.mark.parametrize(("slots", "lands"), [(1, 20), (2, 12), (8, 12)])
def test_host_staging_is_finite(run: Run, slots: int, lands: int) -> None:
    runtime = RuntimePlan(host_staging_chunks=slots)
    r = run(scenario([[0]], links=(replace(SSD, chunk_bytes=2), UP, DOWN), cpu=0, runtime=runtime))
    # One slot: a chunk takes 2 ns on each hop before the next one starts: 5 x 4. Two: 2 + 10.
    assert ends(r) == [lands + 5]
    assert r.peak_bytes == (10, 0)


@pytest.mark.parametrize(("demanded", "found"), [(4, 0), (6, 1)])
def test_what_was_read_ahead_has_not_started(run: Run, demanded: int, found: int) -> None:
    ssd = replace(SSD, bytes_per_s=10 * GB)  # 1 ns an expert, so that the second hop is the narrow one
    wishes = {0: ((5, 1), (6, 1), (7, 1))}
    r = run(scenario([[0], [demanded]], links=(UP, DOWN, ssd), cpu=PLENTY, wishes=wishes))
    # 0: ssd 0..1, up 1..11. 5 and 6 are read 1..2 and 2..3: one lane and one more. 5 starts at 11, up 11..21,
    # and 7 is read 11..12. At 16 the next layer is routed: 6 and 7 are dropped, and stay in DRAM.
    # 4: ssd 16..17, up 21..31; or 6, which is found in DRAM: up 21..31. Computed until 36.
    assert ends(r) == [36]
    assert (r.started, r.unused, r.dropped) == (1, 1, 2)
    assert (r.late, r.fetched, r.found_in_dram) == ((0, 0), (1, 1), (0, found))
    assert r.resident == (frozenset({0, 5, demanded}), frozenset({0, 5, 6, 7, demanded}))
    assert r.link_bytes == {"up": 30, "down": 0, "ssd": 50 - 10 * found}


def test_a_read_under_way_is_waited_for(run: Run) -> None:
    ssd = replace(SSD, bytes_per_s=GB // 2)
    r = run(scenario([[0], [5]], links=(UP, DOWN, ssd), cpu=PLENTY, wishes={0: ((5, 1),)}))
    # 0: ssd 0..20, up 20..30, computed until 35. 5 is read 20..40: a miss at 35, up 40..50, compute until 55.
    assert ends(r) == [55]
    assert r.passes[0].labels == {"stall_ssd": 20 + 5, "stall_up": 10 + 10, "expert_compute": 10}
    assert (r.started, r.dropped, r.late, r.fetched) == (0, 1, (0, 0), (1, 1))
    assert r.link_bytes == {"up": 20, "down": 0, "ssd": 20}


def test_on_the_second_hop_wishes_keep_their_order(run: Run) -> None:
    ssd = replace(SSD, bytes_per_s=10 * GB)
    passes = ([[0], [6]], [[1], [7]], [[0], [5]])
    r = run(scenario(*passes, links=(UP, DOWN, ssd), gpu=20, cpu=PLENTY, wishes={4: ((5, 1), (6, 1))}))
    # Four experts from the SSD, 16 ns each. 0 is in DRAM: up 64..74. 5 comes from the SSD, and is there since
    # 65, where 6 has always been; 5 was wished for first, and starts at 74. Late at 79, there at 84.
    assert ends(r) == [32, 64, 89]
    assert (r.started, r.useful, r.dropped, r.late[5]) == (1, 1, 1, 1)


@pytest.mark.parametrize(("slots", "end", "books"), [(1, 50, (0, 0, 1)), (2, 35, (1, 1, 0))])
def test_speculation_has_half_of_the_slots(run: Run, slots: int, end: int, books: tuple[int, ...]) -> None:
    runtime = RuntimePlan(host_staging_chunks=slots)
    plan = scenario([[0], [5]], links=(UP, DOWN, SSD), cpu=0, runtime=runtime, wishes={0: ((5, 1),)})
    r = run(plan)
    # 0: ssd 0..10, up 10..20, computed until 25. With two slots 5 follows: ssd 10..20, up 20..30, late.
    # With one it may not: dropped at 10, a miss at 25, ssd 25..35, up 35..45.
    assert ends(r) == [end]
    assert (r.started, r.useful, r.dropped) == books


def test_the_least_recent_expert_leaves_dram(run: Run) -> None:
    # GPU 0, DRAM for two: 0 and 1 come from the SSD, so does 2, for which 0 leaves.
    r = run(scenario([[0]], [[1]], [[2]], [[0]], links=(SSD, UP, DOWN), gpu=0, cpu=20))
    assert r.found_in_dram == (0, 0, 0, 0)
    assert r.resident == (frozenset(), frozenset({2, 0}))
    assert ends(r) == [25, 50, 75, 100]


def test_cpu_and_link_share_dram(run: Run) -> None:
    up = replace(UP, bytes_per_s=2 * GB, latency_ns=4, uses_dram=True)
    r = run(
        scenario(
            [[0, 1, 2]],
            links=(up, DOWN),
            expert_bytes=20,
            expert_ns=0,
            cpu_ns=5,
            dram=3 * GB,
            on_cpu={0: {0: 0, 2: 0}},
        )
    )
    # The helper asks for 20 / 5 = 4 bytes/ns, above the 3 of DRAM even alone; the link for 2.
    # 0..4: the helper alone at 3: 12 of 20. From 4: 1.5 each: its other 8 take 5.33, until 10.
    # Expert 2 starts at 10, again 1.5 each. The link has moved 9 by then, its other 11 take 7.33: 18.
    # By then the helper has moved 12 of 20; alone at 3, the other 8 take 2.67: 21.
    assert ends(r) == [21]
    assert r.passes[0].labels == {"stall_up": 18, "cpu_expert_wait": 3}
    assert (r.on_cpu, r.fetched, r.found_in_dram) == ((2,), (1,), (3,))


def test_a_promise_is_revised_when_another_stops(run: Run) -> None:
    up = replace(UP, bytes_per_s=2 * GB, uses_dram=True)
    r = run(
        scenario(
            [[0, 1]],
            links=(up, DOWN),
            expert_bytes=20,
            expert_ns=0,
            cpu_ns=10,
            dram=3 * GB,
            on_cpu={0: {0: 0}},
        )
    )
    # Both ask for 2 and get 1.5: 13.33, both end at 14.
    assert ends(r) == [14]
    r = run(
        scenario(
            [[0, 1]],
            links=(up, DOWN),
            expert_bytes=20,
            expert_ns=0,
            cpu_ns=40,
            dram=2 * GB,
            on_cpu={0: {0: 0}},
        )
    )
    # The helper asks for 0.5 and gets it, the link gets 1.5 of its 2: 13.33, so 14. The helper: 40.
    assert ends(r) == [40]
    assert r.passes[0].labels == {"stall_up": 14, "cpu_expert_wait": 26}


def test_activations_go_both_ways(run: Run) -> None:
    r = run(scenario([[(0, 3)]], cpu_ns=7, activation_bytes=2, on_cpu={0: {0: 0}}))
    # 6 bytes down, 7 ns of compute, 6 bytes up.
    assert ends(r) == [6 + 7 + 6]
    assert r.passes[0].labels == {"cpu_expert_wait": 19}
    assert r.link_bytes == {"up": 6, "down": 6}
    assert r.resident == (frozenset(),)


@pytest.mark.parametrize(
    ("defer", "end", "labels"),
    [
        # Routed at 0, after until 2, CPU until 10, combine 11; routed, 10 ns of transfer, 5, combine.
        (0, 27, {"dense": 6, "cpu_expert_wait": 8, "stall_up": 8, "expert_compute": 5}),
        # Layer 0 ends at 3; layer 1 has its expert at 13 and computes until 18; the CPU ended at 10.
        (1, 19, {"dense": 6, "stall_up": 8, "expert_compute": 5}),
        (5, 19, {"dense": 6, "stall_up": 8, "expert_compute": 5}),
    ],
)
def test_a_cpu_group_is_deferred(run: Run, defer: int, end: int, labels: dict[str, int]) -> None:
    r = run(scenario([[0], [4]], dense=(0, 0, 2, 1, 0), cpu_ns=10, on_cpu={0: {0: defer}}))
    assert ends(r) == [end]
    assert r.passes[0].labels == labels


def test_a_deferred_group_is_due_in_the_last_combine(run: Run) -> None:
    r = run(scenario([[0], [4]], dense=(0, 0, 2, 1, 0), cpu_ns=30, on_cpu={0: {0: 5}}))
    # As above until 18, when layer 1 is about to combine; the CPU ends at 30.
    assert ends(r) == [31]
    assert r.passes[0].labels == {"dense": 6, "stall_up": 8, "expert_compute": 5, "cpu_expert_wait": 12}


@pytest.mark.parametrize(
    ("chunk", "preemption", "starts"),
    [
        (4, "chunk", 18),  # 5 bytes moved when the demand comes: up to the boundary at 8
        (5, "chunk", 15),  # a boundary at that moment
        (4, "none", 20),
        (0, "chunk", 20),
    ],
)
def test_speculation_delays_demand(
    run: Run, chunk: int, preemption: Literal["chunk", "none"], starts: int
) -> None:
    up = replace(UP, chunk_bytes=chunk, preemption=preemption)
    r = run(scenario([[0], [4]], links=(up, DOWN), wishes={0: ((5, 1),)}, runtime=RuntimePlan(cancel="none")))
    # 0 lands at 10 and computes until 15; the wrong prefetch of 5 starts at 10; 4 is demanded at 15.
    assert ends(r) == [starts + 10 + 5]
    assert (r.started, r.useful, r.unused, r.cancelled, r.dropped) == (1, 0, 1, 0, 0)
    # What was preempted goes on at starts + 10: 28..30, or 25..30, the nanosecond in which the run ends
    # (transfers come first).
    assert r.link_bytes["up"] == 30


def test_what_is_on_a_lane_at_the_end_is_not_counted(run: Run) -> None:
    r = run(scenario([[0], [4]], wishes={0: ((4, 1),), 1: ((1, 1),)}))
    # 4 is late: 10..20; 1 starts at 20, and the run ends at 25.
    assert ends(r) == [25]
    assert r.link_bytes["up"] == 20
    assert (r.started, r.useful, r.unused, r.cancelled) == (2, 1, 0, 1)


def test_a_late_prefetch_is_waited_for(run: Run) -> None:
    r = run(scenario([[0], [4]], wishes={0: ((4, 1),)}))
    # 0: 0..10, computed until 15. 4: 10..20; routed at 15, so late; computed until 25.
    assert ends(r) == [25]
    assert r.passes[0].labels == {"stall_up": 15, "expert_compute": 10}
    assert (r.hits, r.late, r.fetched) == ((0, 0), (0, 1), (1, 0))
    assert (r.started, r.useful) == (1, 1)


def test_what_lands_as_it_is_routed_is_a_hit(run: Run) -> None:
    r = run(scenario([[0], [4]], wishes={0: ((4, 1),)}, expert_ns=10))
    assert ends(r) == [30]
    assert (r.hits, r.late) == ((0, 1), (0, 0))


def test_demand_that_is_queued_as_a_lane_gets_idle_goes_first(run: Run) -> None:
    # 5 and 6 are wished for: 5 moves 10..20, when 4 is demanded; 6 would have been picked at 20.
    r = run(
        scenario([[0], [4]], wishes={0: ((5, 1), (6, 1))}, expert_ns=10, runtime=RuntimePlan(cancel="none"))
    )
    assert ends(r) == [40]
    assert (r.started, r.unused) == (2, 2)  # 6 starts at 30


def test_a_prefetch_without_a_victim_is_dropped(run: Run) -> None:
    r = run(scenario([[0], [4]], gpu=10, wishes={0: ((4, 1),)}))
    # When 0 has landed, at 10, the link would start 4, but 0 is pinned until 15. 4 moves 15..25.
    assert ends(r) == [30]
    assert (r.started, r.dropped, r.fetched) == (0, 1, (1, 1))


def test_a_wished_expert_is_shielded_from_the_next_one(run: Run) -> None:
    r = run(scenario([[0], [4]], gpu=20, wishes={0: ((4, 1), (5, 1))}, expert_ns=50))
    # 4 lands at 20; for 5 neither 0 (pinned) nor 4 (shielded) goes. 4 is a hit at 60.
    assert ends(r) == [110]
    assert (r.started, r.useful, r.dropped, r.hits) == (1, 1, 1, (0, 1))


def test_demand_takes_the_space_of_shielded_experts_last(run: Run) -> None:
    r = run(scenario([[0, 1]], [[2]], gpu=20, wishes={0: ((0, 2),)}))
    # 0 was used before 1, but is wished for: 1 leaves.
    assert r.resident == (frozenset({0, 2}),)
    r = run(scenario([[0, 1]], [[2]], gpu=20, wishes={0: ((0, 2), (1, 2))}))
    assert r.resident == (frozenset({1, 2}),)


@pytest.mark.parametrize(("buffers", "end"), [(1, 45), (2, 35), (3, 35)])
def test_a_wave_goes_through_staging_buffers(run: Run, buffers: int, end: int) -> None:
    r = run(scenario([[0, 1, 2]], gpu=0, runtime=RuntimePlan(staging_buffers=buffers)))
    # One: (10 + 5) x 3. Two: landed at 10 and 20; 2 is queued at 15, when 0 is computed: 20..30.
    assert ends(r) == [end]
    assert (r.fetched, r.peak_bytes, r.resident) == ((3,), (0,), (frozenset(),))


def test_hits_go_before_a_wave(run: Run) -> None:
    r = run(scenario([[0]], [[1, 0, 2]], gpu=10, runtime=RuntimePlan(staging_buffers=1)))
    # From 15: 0 computes until 20; 1 lands at 25, computes until 30; 2 lands at 40.
    assert ends(r) == [15, 45]
    assert r.hits == (0, 1)


def test_a_batch_demands_a_union(run: Run) -> None:
    r = run(scenario([[(0, 3), (1, 2)]], [[(0, 3), (1, 2)]], token_ns=2))
    # 5 + 2 x 3 = 11 and 5 + 2 x 2 = 9. Landed at 10 and 20: computed at 21 and 30; then 20 more.
    assert ends(r) == [30, 50]
    assert r.link_bytes["up"] == 20


@pytest.mark.parametrize(
    ("cancel", "moved", "outcome"),
    [("chunk", 8, (0, 1)), ("queued", 10, (1, 0))],
)
def test_a_stale_prefetch_is_cancelled_at_a_chunk(
    run: Run, cancel: Literal["queued", "chunk"], moved: int, outcome: tuple[int, int]
) -> None:
    up = replace(UP, chunk_bytes=4)
    r = run(scenario([[0], [4]], links=(up, DOWN), wishes={0: ((5, 1),)}, runtime=RuntimePlan(cancel=cancel)))
    # 5 is on its way since 10; it is stale at 15 and leaves at 8 bytes, at 18; 4: 18..28.
    # Without cancellation it gives way at 18, and its last 2 bytes move 28..30.
    assert ends(r) == [33]
    assert (r.unused, r.cancelled) == outcome
    assert r.link_bytes["up"] == 20 + moved
    assert r.resident == (frozenset({0, 4} if cancel == "chunk" else {0, 4, 5}),)


def test_stale_prefetches_leave_the_queue(run: Run) -> None:
    r = run(scenario([[0], [4]], wishes={0: ((5, 1), (6, 1), (4, 1))}))
    # 5 starts at 10 and lands at 20; 6 is stale, 4 became a miss: both dropped at 15. 4: 20..30.
    assert ends(r) == [35]
    assert (r.started, r.unused, r.dropped) == (1, 1, 2)


@pytest.mark.parametrize(
    ("when", "first", "second"),
    [
        # 3 + 10 / 2 = 8 of overhead, then 10 of transfer (after runs beside it, 2), then 5.
        # Evicting costs 10 / 1 more.
        ("before", {"overhead": 9, "dense": 2, "stall_up": 8}, {"overhead": 19, "dense": 2, "stall_up": 8}),
        # The transfer runs beside: overhead 8, after until 10; or overhead 18, after until 20.
        ("beside", {"overhead": 9, "dense": 2}, {"overhead": 19, "dense": 2}),
    ],
)
def test_overhead(
    run: Run, when: Literal["before", "beside"], first: dict[str, int], second: dict[str, int]
) -> None:
    overhead = Overhead(pass_ns=1, miss_ns=3, load_bytes_per_s=2 * GB, evict_bytes_per_s=GB, when=when)
    r = run(scenario([[0]], [[1]], gpu=10, dense=(0, 0, 2, 0, 0), runtime=RuntimePlan(overhead=overhead)))
    assert r.passes[0].labels == {**first, "expert_compute": 5}
    assert r.passes[1].labels == {**second, "expert_compute": 5}


def test_experts_in_order_wait_for_their_turn(run: Run) -> None:
    # 0 moves until 10; hit 1, ready at once, waits behind it: 10..15, 15..20. By expert it ends at 15.
    r = run(scenario([[1]], [[1, 0]], runtime=RuntimePlan(overlap="in_order")))
    assert ends(r) == [15, 15 + 20]
    assert r.passes[1].labels == {"stall_up": 10, "expert_compute": 10}


def test_in_order_passes_over_who_has_no_buffer_yet(run: Run) -> None:
    # One buffer, and 1 is queued first: it lands at 10, computes until 15; 0 follows, 25, 30.
    runtime = RuntimePlan(overlap="in_order", staging_buffers=1)
    assert ends(run(scenario([[1, 0]], gpu=0, runtime=runtime))) == [30]


@pytest.mark.parametrize(("overlap", "second"), [("expert", 15), ("layer", 20)])
def test_overlap(run: Run, overlap: Literal["expert", "layer"], second: int) -> None:
    r = run(scenario([[0]], [[1, 0]], runtime=RuntimePlan(overlap=overlap)))
    # By expert the hit computes while 1 moves; by layer both compute when it has landed, at 10.
    assert ends(r) == [15, 15 + second]


@pytest.mark.parametrize(("order", "end"), [("matrix", 22), ("expert", 25)])
def test_parts(run: Run, order: Literal["expert", "matrix"], end: int) -> None:
    r = run(scenario([[0, 1]], runtime=RuntimePlan(parts=2, parts_order=order)))
    # By matrix: halves land at 5, 10, 15, 20 (0, 1, 0, 1); stages take 3 and 2: 5..8, 10..13, 15..17, 20..22.
    # By expert: 10..15, 20..25.
    assert ends(r) == [end]
    assert r.passes[0].labels == {"stall_up": end - 10, "expert_compute": 10}


def test_parts_by_matrix_fall_back_in_a_wave(run: Run) -> None:
    runtime = RuntimePlan(parts=2, parts_order="matrix", staging_buffers=1)
    assert ends(run(scenario([[0, 1]], gpu=0, runtime=runtime))) == [15 + 15]


def test_the_remainder_goes_to_the_first_piece(run: Run) -> None:
    # 11 bytes in 3: 5, 3, 3; 5 ns in 3 stages: 2, 2, 1. Landed at 5, 8, 11: 5..7, 8..10, 11..12.
    runtime = RuntimePlan(parts=3, parts_order="matrix")
    assert ends(run(scenario([[0]], expert_bytes=11, runtime=runtime))) == [12]


def test_copy_after_read_occupies_the_lane(run: Run) -> None:
    up = replace(UP, lanes=2, bytes_per_s=2 * GB, lane_bytes_per_s=GB, copy_bytes_per_s=2 * GB)
    # 0 and 1: moved at 10, copied at 15. 2 starts then: moved at 25, copied at 30, computed at 35.
    assert ends(run(scenario([[0, 1, 2]], links=(up, DOWN)))) == [35]


def test_a_lane_that_copies_does_not_move(run: Run) -> None:
    up = replace(UP, lanes=2, lane_bytes_per_s=GB, copy_bytes_per_s=2 * GB, split=True)
    # 11 bytes: 6 and 5 at 0.5 each; at 10 the 5 are moved, the sixth byte moves alone until 11 and is
    # copied with the others of its piece in 3 ns: 14 (the 5 bytes: 2.5, so until 13).
    assert ends(run(scenario([[0]], links=(up, DOWN), expert_bytes=11))) == [14 + 5]


def test_alignment_reads_more(run: Run) -> None:
    r = run(scenario([[0]], links=(replace(UP, align_bytes=4), DOWN)))
    # (ceil(10 / 4) + 1) x 4 = 16
    assert ends(r) == [16 + 5]
    assert r.link_bytes["up"] == 16
    assert r.peak_bytes == (10,)


@pytest.mark.parametrize(("evict", "peak"), [("on_insert", 20), ("after_event", 40)])
def test_the_peak_of_an_event(run: Run, evict: Literal["on_insert", "after_event"], peak: int) -> None:
    r = run(scenario([[0, 1]], [[2, 3]], gpu=20, runtime=RuntimePlan(evict=evict)))
    assert r.peak_bytes == (peak,)
    assert r.resident == (frozenset({2, 3}),)
    assert ends(r) == [25, 50]


def test_after_event_keeps_a_demand_above_the_capacity(run: Run) -> None:
    r = run(scenario([[0, 1, 2]], [[3]], gpu=20, runtime=RuntimePlan(evict="after_event")))
    # Nobody can go in pass 1. In pass 2 there are 40 bytes; the two least recent go.
    assert r.peak_bytes == (40,)
    assert r.resident == (frozenset({2, 3}),)


def test_an_exclusive_pair_writes_victims_back(run: Run) -> None:
    down = replace(DOWN, bytes_per_s=GB // 2)
    runtime = RuntimePlan(exclusive=True)
    r = run(scenario([[0]], [[1]], [[0]], links=(UP, down), gpu=10, runtime=runtime))
    # Pass 1: 15. Pass 2: 1 moves 15..25 while 0 is written back 15..35; ends at 30.
    # Pass 3: 0 is on its way down until 35, up 35..45, computed at 50. 1 is written back 35..55: not counted.
    assert ends(r) == [15, 30, 50]
    assert r.passes[2].labels == {"stall_up": 15, "expert_compute": 5}
    assert r.link_bytes == {"up": 30, "down": 10}


def test_an_exclusive_pair_holds_an_expert_once(run: Run) -> None:
    runtime = RuntimePlan(exclusive=True)
    r = run(scenario([[0]], [[1]], links=(SSD, UP, DOWN), gpu=10, cpu=20, runtime=runtime))
    # 0: 0..10 to DRAM, 10..20 to the GPU, where it is alone then. 1 the same from 25; 0 goes back to DRAM.
    assert ends(r) == [25, 50]
    assert r.resident == (frozenset({1}), frozenset({0}))
    assert r.link_bytes == {"ssd": 20, "up": 20, "down": 10}
    assert r.peak_bytes == (10, 20)


def test_what_a_cancelled_prefetch_has_not_given_back_is_a_miss(run: Run) -> None:
    r = run(
        scenario(
            [[0]],
            [[0]],
            [[1]],
            gpu=20,
            expert_ns=2,
            wishes={0: ((1, 1),)},
            runtime=RuntimePlan(cancel="chunk"),
        )
    )
    # The prefetch of 1 moves 10..20 and is stale at 12; there is no chunk at which it could stop.
    # 1 is demanded at 14: a miss, which takes over its place, and moves 20..30.
    assert ends(r) == [12, 14, 32]
    assert (r.late, r.fetched, r.cancelled) == ((0, 0, 0), (1, 0, 1), 1)
    assert (r.link_bytes["up"], r.peak_bytes, r.resident) == (30, (20,), (frozenset({0, 1}),))


def test_a_chunk_is_preempted_on_its_second_hop(run: Run) -> None:
    up = replace(UP, chunk_bytes=2)
    r = run(
        scenario(
            [[0]],
            [[1]],
            [[0]],
            links=(SSD, up, DOWN),
            gpu=20,
            cpu=PLENTY,
            wishes={1: ((2, 1),)},
            runtime=RuntimePlan(cancel="none"),
        )
    )
    # Pass 2: 1 comes 25..35..45. For 2, behind it, 0 leaves the GPU; it comes 35..45 and moves up from 45.
    # Pass 3: 0 is demanded at 50, when 5 of 2's bytes have moved up: at 6, at 51, it gives way.
    assert ends(r) == [25, 50, 51 + 10 + 5]
    assert (r.found_in_dram, r.unused) == ((0, 0, 1), 1)


def test_a_cancelled_chunk_finishes_on_its_second_hop(run: Run) -> None:
    up = replace(UP, chunk_bytes=2)
    r = run(
        scenario(
            [[0]],
            [[1]],
            [[3]],
            links=(SSD, up, DOWN),
            gpu=20,
            cpu=PLENTY,
            wishes={1: ((2, 1),)},
            runtime=RuntimePlan(cancel="chunk"),
        )
    )
    # As above, but nobody waits for the link: cancelled at 50, all 10 bytes have moved up at 55.
    assert ends(r) == [25, 50, 75]
    assert (r.link_bytes["up"], r.cancelled) == (40, 1)
    assert r.resident == (frozenset({1, 3}), frozenset({0, 1, 2, 3}))


@pytest.mark.parametrize("links", [(UP, DOWN), (DOWN, UP)])
def test_a_victim_of_a_prefetch_is_written_back_at_once(run: Run, links: tuple[LinkPlan, ...]) -> None:
    runtime = RuntimePlan(exclusive=True)
    r = run(
        scenario(
            [[0]],
            [[1]],
            links=links,
            gpu=20,
            expert_ns=0,
            dense=(0, 0, 0, 0, 10),
            wishes={1: ((2, 1),)},
            runtime=runtime,
        )
    )
    # The prefetch of 2 starts at 30, when 1 has landed; 0 leaves for it and is down at 40, as the run ends.
    assert ends(r) == [20, 40]
    assert r.link_bytes == {"up": 30, "down": 10}


def test_a_job_leaves_at_the_last_boundary_of_a_nanosecond(run: Run) -> None:
    up = replace(UP, bytes_per_s=2 * GB, latency_ns=8, chunk_bytes=1)
    r = run(
        scenario(
            [[0], [4]],
            links=(up, DOWN),
            expert_bytes=40,
            wishes={0: ((5, 1),)},
            runtime=RuntimePlan(cancel="chunk"),
        )
    )
    # 0 lands at 8 + 20 and computes until 33. 5 is stale then; its latency ends at 36, and at 37 two
    # chunks have moved. 4: 37 + 8 + 20 = 65.
    assert ends(r) == [70]
    assert r.link_bytes["up"] == 82


# -- busy times and residency (§10) ----------------------------------------------------------------


def test_a_link_is_busy_from_a_jobs_start_to_its_end(run: Run) -> None:
    r = run(scenario([[0], [4]], [[0], [4]], links=(replace(UP, latency_ns=2), DOWN), dense=(0, 3, 0, 0, 0)))
    # 0: 3..15, computed until 20; 4: 23..35, until 40. Pass 2 hits.
    assert [p.busy for p in r.passes] == [{"up": 12 + 12}, {}]


def test_lanes_that_overlap_are_busy_once(run: Run) -> None:
    two = replace(UP, lanes=2, bytes_per_s=3 * GB // 2, lane_bytes_per_s=GB)
    # 0 and 1 until 14, 2 until 24, as above.
    assert run(scenario([[0, 1, 2]], links=(two, DOWN))).passes[0].busy == {"up": 24}


def test_a_transfer_over_the_end_of_a_pass_is_split_there(run: Run) -> None:
    r = run(scenario([[0]], [[1]], wishes={0: ((1, 1),), 1: ((2, 1),)}))
    # 0: 0..10, computed until 15. 1: 10..20, computed until 25. 2 starts at 20, and the run ends at 25.
    assert ends(r) == [15, 25]
    assert [p.busy for p in r.passes] == [{"up": 15}, {"up": 10}]


def test_the_helper_is_busy_while_it_computes_at_whatever_rate(run: Run) -> None:
    up = replace(UP, bytes_per_s=2 * GB, latency_ns=4, uses_dram=True)
    on_cpu = {0: {0: 0, 2: 0}}
    r = run(
        scenario(
            [[0, 1, 2]],
            links=(up, DOWN),
            expert_bytes=20,
            expert_ns=0,
            cpu_ns=5,
            activation_bytes=1,
            dram=3 * GB,
            on_cpu=on_cpu,
        )
    )
    # Activations: 0..2 down. The helper alone from 2 at 3 bytes/ns: 6 of 20 at 4. Then 1.5 each: its other
    # 14 take 9.33, until 14; the link has moved 15 of 20, its other 5 take 3.33, until 18. The second one
    # has moved 6 by then, its other 14 take 4.67, until 23. Outputs: latency 4, one each for two bytes: 28.
    assert ends(r) == [28]
    assert r.passes[0].busy == {"down": 2, "cpu": 23 - 2, "up": 18 + 5}


def test_a_paused_lane_is_busy(run: Run) -> None:
    runtime = RuntimePlan(host_staging_chunks=1)
    r = run(scenario([[0]], links=(replace(SSD, chunk_bytes=2), UP, DOWN), cpu=0, runtime=runtime))
    # Read 0..2, moved up 2..4 while the lane pauses, and so on; the fifth chunk is read at 18.
    assert r.passes[0].busy == {"ssd": 18, "up": 10}


def test_a_lane_is_busy_while_it_copies(run: Run) -> None:
    up = replace(UP, copy_bytes_per_s=2 * GB)
    assert run(scenario([[0]], links=(up, DOWN))).passes[0].busy == {"up": 15}


def test_residency_counts_the_steps_from_coming_to_leaving(run: Run) -> None:
    r = run(scenario([[0]], [[1]], [[0]], gpu=10))
    assert r.resident_steps == ({0: 1 + 1, 1: 1},)
    r = run(scenario([[0]], [[1]], [[2]], [[0]], links=(SSD, UP, DOWN), gpu=0, cpu=20))
    # In DRAM: 0 in steps 0 and 1, then for the last; 1 in 1 and 2; 2 in 2 and 3.
    assert r.resident_steps == ({}, {0: 2 + 1, 1: 2, 2: 2})


def test_what_is_under_way_is_resident(run: Run) -> None:
    r = run(scenario([[0]], [[1]], wishes={0: ((1, 1),)}))
    assert r.resident_steps == ({0: 2, 1: 2},)  # 1 is started at 10, in step 0, and lands at 20, in step 1


def test_steps_without_demand_count(run: Run) -> None:
    r = run(scenario([[], [4], []], [[], [5], []], gpu=10))
    assert r.resident_steps == ({4: 4 - 1, 5: 6 - 4},)
