"""Busy times and residency worked out by hand (docs/timing.md, section 10)."""

from __future__ import annotations

from dataclasses import replace

from simulator.engine.plan import RuntimePlan
from tests.engine.by_hand import DOWN, GB, SSD, UP, Run, ends, scenario


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
