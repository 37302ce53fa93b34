"""Eviction policies of the general field: by hand, beside plain caches, and with atomic steps and pins."""

from __future__ import annotations

import random

import pytest

from tests.policies.plain_caches import PLAIN
from tests.policies.tools import bound, context, hits

GENERAL = ("slru", "2q", "arc", "sieve", "s3-fifo", "lirs", "w-tinylfu")


def drawn(seed: int, n: int = 3000) -> list[int]:
    """Return keys of which some are popular, others come in bursts, and others in loops."""
    draw = random.Random(seed)
    found: list[int] = []
    while len(found) < n:
        kind = draw.random()
        if kind < 0.6:
            found.append(min(int(draw.paretovariate(0.6)), 60))
        elif kind < 0.8:
            found += [draw.randrange(60)] * 3
        else:
            found += range(draw.randrange(50), 60)
    return found[:n]


@pytest.mark.parametrize("slots", [2, 7, 16, 40])
@pytest.mark.parametrize("name", PLAIN)
def test_hits_are_those_of_a_plain_cache(name: str, slots: int) -> None:
    sequence = drawn(slots)
    cache = PLAIN[name](slots)
    assert hits(name, [[key] for key in sequence], slots, n_experts=64) == [*map(cache.access, sequence)]


def filled(name: str, text: str, n: int = 16) -> object:
    """Return a policy after single uses, the pool never asked for a victim."""
    policy = bound("eviction", name, context(n_experts=n))
    for index, key in enumerate(text):
        policy.on_use([int(key)], index)
    return policy


def replaced(policy, key: int, index: int = 99) -> int:
    """Return who goes when ``key`` is demanded of a full pool, and let it go."""
    policy.on_use([key], index)
    victim = policy.victim({key})
    policy.on_evict(victim)
    return victim


@pytest.mark.parametrize(
    ("name", "text", "demanded", "gone"),
    [
        # 1 and 2 were used twice; 3 and 4 are on probation, and 3 is used again: 4 goes
        ("slru", "1122343", [5], [4]),
        # one newcomer of four may stay: 1, 2, 3 leave in their order, although 1 was used again
        ("2q", "12341", [5, 6, 7], [1, 2, 3]),
        # T1 = 2 3 4, T2 = 1: 2 goes to B1. 2 is back: the target is 1, T1 = 3 4 5, 3 goes; then 4
        ("arc", "12341", [5, 2, 6], [2, 3, 4]),
        # the hand spares 1 and 2 and takes 3; it goes on to 4, then to 5
        ("sieve", "123412", [5, 6, 7], [3, 4, 5]),
        # 1, used twice since it came, moves to main; 2 goes and is remembered; 3 goes; 2 is back, in main
        ("s3-fifo", "12341112", [5, 6, 2], [2, 3, 4]),
        # 4, the latest, goes, and 5 is HIR: three may be LIR. 5 goes for 6, and 6 for 7
        ("lirs", "1234", [5, 6, 7], [4, 5, 6]),
        # the window has 4; 3 was used twice, 4 once: the newcomer goes; so do 5 and 6
        ("w-tinylfu", "1122334", [5, 6, 7], [4, 5, 6]),
    ],
)
def test_worked_by_hand(name: str, text: str, demanded: list[int], gone: list[int]) -> None:
    policy = filled(name, text)
    assert [replaced(policy, key) for key in demanded] == gone


@pytest.mark.parametrize("name", GENERAL)
def test_a_pinned_expert_is_passed_over_and_another_goes(name: str) -> None:
    policy = filled(name, "1234")
    free = {1, 2, 3, 4}
    while free:
        blocked = {1, 2, 3, 4} - free
        victim = policy.victim(blocked)  # type: ignore[attr-defined]
        assert victim in free
        free.discard(victim)
    assert policy.victim({1, 2, 3, 4}) is None  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", GENERAL)
def test_steps_of_several_experts_hit_alike_whatever_stays_out_of_a_small_pool(name: str) -> None:
    """A step's own experts are pinned; where the pool is smaller than the step, some are not kept."""
    draw = random.Random(1)
    events = [draw.sample(range(16), 4) for _ in range(300)]
    whole = sum(map(sum, hits_each(name, events, 16)))
    assert whole == 300 * 4 - 16
    few = sum(map(sum, hits_each(name, events, 3)))
    assert 0 < few < 300 * 3


def hits_each(name: str, events: list[list[int]], slots: int) -> list[list[int]]:
    """Return the hits of each event, as a list of one."""
    return [[found] for found in hits(name, events, slots, n_experts=16)]


def test_arc_and_slru_survive_a_scan_that_empties_lru() -> None:
    loop = [[key] for key in [0, 1, 2, 3] * 4]
    scan = [[key] for key in range(8, 40)]
    again = [[key] for key in range(4)]
    found = {n: sum(hits(n, [*loop, *scan, *again], 8, n_experts=64)[-4:]) for n in (*GENERAL, "lru")}
    assert found["lru"] == 0
    assert {n for n in GENERAL if found[n] == 4} >= {"slru", "arc", "lirs", "w-tinylfu"}
