"""The CPU worked out by hand: what it computes, what it shares with links, and what is deferred."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.engine.by_hand import DOWN, GB, UP, Run, ends, scenario


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
