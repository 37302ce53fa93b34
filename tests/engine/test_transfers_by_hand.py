"""Transfers worked out by hand: one hop and two, lanes, tables, staging, alignment, copies."""

from __future__ import annotations

from dataclasses import replace

import pytest

from simulator.engine.plan import RuntimePlan
from tests.engine.by_hand import DOWN, GB, PLENTY, SSD, UP, Run, ends, scenario


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


def test_the_remainder_goes_to_the_first_piece(run: Run) -> None:
    # 11 bytes in 3: 5, 3, 3; 5 ns in 3 stages: 2, 2, 1. Landed at 5, 8, 11: 5..7, 8..10, 11..12.
    runtime = RuntimePlan(parts=3, parts_order="matrix")
    assert ends(run(scenario([[0]], expert_bytes=11, runtime=runtime))) == [12]


TWO_TENSORS = (((8, 4),),)  # gate and up as one tensor, and down, of the one layer


def test_two_unequal_tensors_by_matrix(run: Run) -> None:
    runtime = RuntimePlan(tensors=TWO_TENSORS, parts_order="matrix")
    r = run(scenario([[0, 1]], expert_bytes=12, expert_ns=7, runtime=runtime))
    # gate_up of 0 lands at 8, that of 1 at 16, down of 0 at 20, that of 1 at 24. 7 ns: 7 x 8 // 12 = 4 and
    # 7 x 4 // 12 = 2; the one that is left goes to gate_up: 5 and 2.
    # gate_up: 8..13, 16..21. down: 21..23, and 24..26.
    assert ends(r) == [26]
    assert r.passes[0].labels == {"stall_up": 8 + 3 + 1, "expert_compute": 14}


def test_two_unequal_tensors_by_expert(run: Run) -> None:
    up = replace(UP, lanes=2, bytes_per_s=2 * GB, lane_bytes_per_s=GB, latency_ns=1, align_bytes=2)
    runtime = RuntimePlan(tensors=TWO_TENSORS)
    r = run(scenario([[0, 1]], links=(up, DOWN), expert_bytes=12, runtime=runtime))
    # Reads of 8 + 2 and 4 + 2, each 1 ns late: gate_up of 0 on one lane until 11, down on the other until 7,
    # then gate_up of 1 on that until 18, and down on the first until 18. Computed 11..16 and 18..23, whole.
    assert ends(r) == [23]
    assert r.link_bytes["up"] == 32
    # Without tensors 0 and 1 move whole, side by side: 1 + 12 + 2.
    assert ends(run(scenario([[0, 1]], links=(up, DOWN), expert_bytes=12))) == [15 + 10]


def test_a_prefetch_that_is_late_moves_its_tensors_too(run: Run) -> None:
    runtime = RuntimePlan(tensors=TWO_TENSORS * 2, parts_order="matrix")
    r = run(scenario([[0], [4]], expert_bytes=12, expert_ns=6, runtime=runtime, wishes={0: ((4, 1),)}))
    # 0: gate_up lands at 8, down at 12: 4 and 2 ns, 8..12 and 12..14. 4: gate_up 12..20, down 20..24; late at
    # 14. gate_up is computed 20..24, down 24..26.
    assert ends(r) == [26]
    assert (r.late, r.useful) == ((0, 1), 1)


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
    # 10 and a block of 4
    assert ends(r) == [14 + 5]
    assert r.link_bytes["up"] == 14
    assert r.peak_bytes == (10,)
