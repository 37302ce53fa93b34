"""Prefetches worked out by hand: slots, shields, what is late, cancelled or preempted."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest

from simulator.engine.plan import RuntimePlan
from tests.engine.by_hand import DOWN, GB, PLENTY, SSD, UP, Run, ends, scenario


@pytest.mark.parametrize(("slots", "end", "books"), [(1, 50, (0, 0, 1)), (2, 35, (1, 1, 0))])
def test_speculation_has_half_of_the_slots(run: Run, slots: int, end: int, books: tuple[int, ...]) -> None:
    runtime = RuntimePlan(host_staging_chunks=slots)
    plan = scenario([[0], [5]], links=(UP, DOWN, SSD), cpu=0, runtime=runtime, wishes={0: ((5, 1),)})
    r = run(plan)
    # 0: ssd 0..10, up 10..20, computed until 25. With two slots 5 follows: ssd 10..20, up 20..30, late.
    # With one it may not: dropped at 10, a miss at 25, ssd 25..35, up 35..45.
    assert ends(r) == [end]
    assert (r.started, r.useful, r.dropped) == books


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


def test_nobody_is_preempted_where_a_cancelled_job_leaves(run: Run) -> None:
    up = replace(UP, bytes_per_s=2 * GB, lane_bytes_per_s=GB, lanes=2, chunk_bytes=4, latency_ns=2)
    plan = scenario(
        [[0], [], []],
        [[0], [4], [9]],
        links=(up, DOWN),
        wishes={3: ((9, 2), (5, 1))},
        runtime=RuntimePlan(cancel="chunk"),
    )
    r = run(replace(plan, expert_bytes=(10, 10, 30), expert_ns=(6, 1, 5)))
    # Pass 1 ends at 2 + 10 + 6 = 18; then 0 is a hit, 18..24, while 9 and 5 move: latency until 20,
    # boundaries at 24. At 24 4 is demanded and 5 is stale: it leaves lane 1, 4 takes that: 26..36, computed
    # until 37. 9 goes on on lane 0 and lands at 50. Preempted it would resume at 26, and land at 52.
    assert ends(r) == [18, 50 + 5]
    assert r.passes[1].labels == {"stall_up": 12 + 13, "expert_compute": 6 + 1 + 5}
    assert (r.hits[3:], r.late[3:], r.cancelled) == ((1, 0, 0), (0, 0, 1), 1)


def test_stale_prefetches_leave_the_queue(run: Run) -> None:
    r = run(scenario([[0], [4]], wishes={0: ((5, 1), (6, 1), (4, 1))}))
    # 5 starts at 10 and lands at 20; 6 is stale, 4 became a miss: both dropped at 15. 4: 20..30.
    assert ends(r) == [35]
    assert (r.started, r.unused, r.dropped) == (1, 1, 2)


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
