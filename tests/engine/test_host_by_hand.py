"""The host worked out by hand: issue, starts, round trips, books, calls, blocking copies, CPU operations."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest

from simulator.engine.plan import HostPlan, Overhead, RuntimePlan
from tests.engine.by_hand import Run, ends, launches, scenario

UNSEEN = (False,)
ISSUE_4 = launches(UNSEEN, dense=(4, 4, 4, 4, 4), experts=2, expert=2)


def with_host(host: HostPlan) -> RuntimePlan:
    return RuntimePlan(host=host)


def test_issue_that_is_slower_than_work_binds(run: Run) -> None:
    r = run(scenario([[0]], [[0]], dense=(1, 1, 1, 1, 1), launches=ISSUE_4))
    # H: prologue 4, before 8, after 12, expert 16, combine 20, epilogue 24.
    # Pass 1: 4..5, 8..9; routed at 9, lands at 19; after 12..13, expert 19..24, combine 24..25, 25..26.
    # Pass 2: 4..5, 8..9, 12..13, expert 16..21, combine 21..22, epilogue 24..25.
    assert ends(r) == [26, 26 + 25]
    assert r.passes[0].labels == {"host": 4 + 3 + 3, "dense": 5, "stall_up": 6, "expert_compute": 5}
    assert r.passes[1].labels == {"host": 4 + 3 + 3 + 3 + 2, "dense": 5, "expert_compute": 5}


def test_a_host_that_is_faster_runs_ahead(run: Run) -> None:
    r = run(scenario([[0]], [[0]], dense=(10, 10, 10, 10, 10), launches=ISSUE_4))
    # Only the first item of a pass is waited for: 4 + 10 + 10 + 10 + 5 + 10 + 10. 0 lands as after ends.
    assert ends(r) == [59, 59 + 59]
    assert r.passes[0].labels == {"host": 4, "dense": 50, "expert_compute": 5}


def test_an_item_is_issued_even_if_it_takes_no_time(run: Run) -> None:
    r = run(scenario([[], []], launches=launches((True, True), dense=(3, 3, 3, 3, 3), experts=9, expert=9)))
    # Prologue, two layers of before, after and combine, epilogue; no experts.
    assert ends(r) == [3 + 2 * 9 + 3]
    assert r.passes[0].labels == {"host": 24}


def test_the_overhead_of_a_pass_is_beside_the_first_issue(run: Run) -> None:
    runtime = RuntimePlan(overhead=Overhead(pass_ns=3))
    r = run(scenario([[]], runtime=runtime, launches=launches(UNSEEN, dense=(4, 0, 0, 0, 0))))
    # H starts with the pass: issued at 4, when the overhead has ended at 3.
    assert r.passes[0].labels == {"overhead": 3, "host": 1}


def test_a_round_trip_is_made_in_layers_that_are_seen(run: Run) -> None:
    runtime = with_host(HostPlan(round_trip_ns=20))
    issue = launches((False, True), dense=(0, 1, 0, 0, 0))
    r = run(
        scenario([[0], [4]], [[0], [4]], [[], []], dense=(0, 10, 0, 0, 0), runtime=runtime, launches=issue)
    )
    # Pass 1: issued at 1, routed at 11, 0 lands at 21, computed until 26; before until 36, seen at 56,
    # 4 lands at 66, computed until 71. Pass 2: 1, 11, 16; 26, 46, 51. Pass 3: no events, 1, 11, 21.
    assert ends(r) == [71, 71 + 51, 71 + 51 + 21]
    assert r.passes[0].labels == {"host": 21, "dense": 20, "stall_up": 20, "expert_compute": 10}
    assert r.passes[1].labels == {"host": 21, "dense": 20, "expert_compute": 10}
    assert r.passes[2].labels == {"host": 1, "dense": 20}


@pytest.mark.parametrize(("seen", "host"), [(False, 0), (True, 4)])
def test_seeing_the_routing_ends_the_lead_of_the_host(run: Run, seen: bool, host: int) -> None:
    issue = launches((seen,), dense=(0, 0, 4, 0, 0))
    r = run(scenario([[]], [[0]], [[0]], dense=(0, 10, 0, 0, 0), launches=issue))
    # Pass 3: before until 10. After is issued at 4, or at 10 + 4 where the host has waited.
    assert r.passes[2].labels.get("host", 0) == host
    assert ends(r)[2] - ends(r)[1] == 10 + host + 5


def test_books(run: Run) -> None:
    runtime = with_host(HostPlan(lookup_ns=1, miss_ns=10, evict_ns=100))
    r = run(scenario([[0]], [[1]], [[1]], gpu=10, runtime=runtime))
    # A lookup and a miss: 11; lands at 21. 1 evicts 0: 111, 10, 5. Then a lookup only.
    assert ends(r) == [11 + 15, 26 + 111 + 15, 152 + 1 + 5]
    assert [p.labels["host"] for p in r.passes] == [11, 111, 1]
    assert r.passes[1].labels == {"host": 111, "stall_up": 10, "expert_compute": 5}


def test_books_of_what_the_cpu_computes(run: Run) -> None:
    runtime = with_host(HostPlan(lookup_ns=1, miss_ns=10))
    r = run(scenario([[0, 1]], runtime=runtime, on_cpu={0: {0: 0}}))
    # Two lookups, two misses: 22. 0 is computed 22..23 on the CPU; 1 lands at 32.
    assert r.passes[0].labels == {"host": 22, "stall_up": 10, "expert_compute": 5}


@pytest.mark.parametrize(
    ("when", "labels"),
    [
        # Overhead 0..3, books until 14, the transfer until 24.
        ("before", {"overhead": 3, "host": 11, "stall_up": 10, "expert_compute": 5}),
        # Books until 11, the transfer until 21, the overhead 11..14 beside it.
        ("beside", {"overhead": 3, "host": 11, "stall_up": 7, "expert_compute": 5}),
    ],
)
def test_books_and_overhead(run: Run, when: Literal["before", "beside"], labels: dict[str, int]) -> None:
    host = HostPlan(lookup_ns=1, miss_ns=10)
    r = run(scenario([[0]], runtime=RuntimePlan(overhead=Overhead(miss_ns=3, when=when), host=host)))
    assert r.passes[0].labels == labels
    assert ends(r) == [sum(labels.values())]


def test_a_transfer_is_queued_when_its_calls_have_ended(run: Run) -> None:
    r = run(scenario([[0, 1]], runtime=with_host(HostPlan(copy_ns=20))))
    # 0 is queued at 20 and lands at 30; 1 is queued at 40, when 0 computes, and lands at 50.
    assert ends(r) == [55]
    assert r.passes[0].labels == {"host": 40, "stall_up": 5, "expert_compute": 10}
    assert r.passes[0].busy == {"up": 20}


def test_calls_by_matrix_are_made_together(run: Run) -> None:
    runtime = RuntimePlan(parts=2, parts_order="matrix", host=HostPlan(copy_ns=4))
    r = run(scenario([[0, 1]], runtime=runtime))
    # Both are queued at 8; halves land at 13, 18, 23, 28; stages 13..16, 18..21, 23..25, 28..30.
    assert ends(r) == [30]
    assert r.passes[0].labels == {"host": 8, "stall_up": 5 + 2 + 2 + 3, "expert_compute": 10}


def test_a_prefetch_needs_calls_if_it_is_queued(run: Run) -> None:
    wishes = {0: ((4, 1), (4, 1)), 2: ((4, 1),)}
    r = run(scenario([[0], [4]], [[0], [4]], runtime=with_host(HostPlan(copy_ns=4)), wishes=wishes))
    # 0 is queued at 4, lands at 14, is computed until 19. 4 is queued at 8 (once), lands at 24: late.
    # In pass 2 all is there.
    assert ends(r) == [29, 29 + 10]
    assert r.passes[0].labels == {"host": 8, "stall_up": 6 + 5, "expert_compute": 10}
    assert (r.started, r.useful, r.late) == (1, 1, (0, 1, 0, 0))


@pytest.mark.parametrize(("buffers", "end", "stall"), [(1, 57, 30), (2, 39, 6 + 1 + 5)])
def test_calls_of_a_later_wave_begin_when_a_buffer_is_free(
    run: Run, buffers: int, end: int, stall: int
) -> None:
    runtime = RuntimePlan(staging_buffers=buffers, host=HostPlan(copy_ns=4))
    r = run(scenario([[0, 1, 2]], gpu=0, runtime=runtime))
    # One buffer: 4 of calls, 10, 5, three times. Two: 0 and 1 are queued at 4 and 8 and land at 14 and 24.
    # 0 is computed 14..19, calls for 2 19..23, 1 24..29; 2 lands at 34, computed until 39.
    assert ends(r) == [end]
    assert r.passes[0].labels == {"host": 12, "stall_up": stall, "expert_compute": 15}


@pytest.mark.parametrize(("blocking", "host"), [(False, 0), (True, 7)])
def test_blocking_copies_hold_the_host_up(run: Run, blocking: bool, host: int) -> None:
    runtime = with_host(HostPlan(blocking=blocking))
    r = run(scenario([[0, 1]], runtime=runtime, launches=launches(UNSEEN, expert=6)))
    # 0 and 1 land at 10 and 20, H is 6 and 12: 10..15, 20..25. If copies block, H is 10 + 6: 16..21.
    # 1 has landed then, so that nobody waits: H is 16 + 6, 22..27.
    assert r.passes[0].labels.get("host", 0) == host
    assert ends(r) == [27 if blocking else 25]


def test_cpu_operations(run: Run) -> None:
    host = HostPlan(activations_ns=3, group_ns=7)
    issue = launches(UNSEEN, dense=(0, 0, 0, 4, 0))
    plan = scenario(
        [[0, 1]],
        dense=(0, 0, 0, 1, 0),
        cpu_ns=10,
        runtime=with_host(host),
        launches=issue,
        on_cpu={0: {0: 0, 1: 0}},
    )
    r = run(plan)
    # Calls until 3, the group's own 7 until 10, two experts until 30. Only then is combine issued: 34..35.
    assert ends(r) == [35]
    assert r.passes[0].labels == {"host": 3 + 4, "cpu_expert_wait": 27, "dense": 1}
    assert r.passes[0].busy == {"cpu": 27}
    # With 50 of work after routing nobody waits for the CPU, and combine is issued meanwhile.
    after = replace(plan.passes[0], after_ns=(50,))
    r = run(replace(plan, passes=(after,)))
    assert r.passes[0].labels == {"host": 3, "dense": 51}


def test_the_first_expert_of_a_step_has_the_start(run: Run) -> None:
    issue = launches(UNSEEN, experts=2, expert=3, start=6)
    r = run(scenario([[0, 1]], [[0, 1]], launches=issue))
    # Pass 1: 0 lands at 10, 10..21, 1 follows 21..26. Pass 2: issued at 2 + 3: 5..16; at 8: 16..21.
    assert ends(r) == [26, 26 + 21]
    assert r.passes[1].labels == {"host": 5, "expert_compute": 6 + 10}


def test_the_start_is_in_the_first_stage(run: Run) -> None:
    issue = launches(UNSEEN, expert=20, start=6)
    r = run(scenario([[0, 1]], runtime=RuntimePlan(parts=2, parts_order="matrix"), launches=issue))
    # Halves land at 5, 10, 15, 20. Stage 1 is issued at 20 and at 40: 20..29, 40..43; stage 2 at once.
    assert ends(r) == [43 + 2 + 2]
    assert r.passes[0].labels == {"stall_up": 5, "host": 15 + 11, "expert_compute": 16}


def test_a_step_of_the_cpu_has_no_start(run: Run) -> None:
    issue = launches(UNSEEN, experts=2, expert=3, start=6)
    r = run(scenario([[0]], cpu_ns=10, launches=issue, on_cpu={0: {0: 0}}))
    assert r.passes[0].labels == {"cpu_expert_wait": 10}
