"""Steps worked out by hand: hits, waves, batches, turns, overlap, parts and overhead."""

from __future__ import annotations

from typing import Literal

import pytest

from simulator.engine.plan import Overhead, RuntimePlan
from tests.engine.by_hand import GB, Run, ends, scenario


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
