"""A second opinion: libcachesim on sequences of single experts (a development-only cross-check, GPLv3+)."""

from __future__ import annotations

import random

import pytest

from tests.policies.tools import hits

libcachesim = pytest.importorskip("libcachesim", reason="libcachesim (a dev extra) is not installed here")


def theirs(kind, sequence, slots):
    """Return the hits of their cache; a next access of 2^62 is never."""
    last = {}
    due = [1 << 62] * len(sequence)
    for i, key in enumerate(sequence):
        if key in last:
            due[last[key]] = i + 1
        last[key] = i
    simulated = kind(cache_size=slots)
    found = []
    for i, key in enumerate(sequence):
        request = libcachesim.Request(
            obj_size=1, obj_id=key, op=libcachesim.ReqOp.OP_GET, clock_time=i + 1, next_access_vtime=due[i]
        )
        found.append(int(simulated.get(request)))
    return found


@pytest.mark.parametrize("slots", [1, 7, 40])
@pytest.mark.parametrize(
    ("name", "theirs_is"),
    [
        ("lru", "LRU"),
        ("fifo", "FIFO"),
        ("lfu", "LFU"),
        ("belady", "Belady"),
        ("2q", "TwoQ"),
        ("arc", "ARC"),
        ("sieve", "Sieve"),
    ],
)
def test_counts_are_equal(name, theirs_is, slots):
    if name == "2q" and slots == 1:
        pytest.skip("a quarter of one slot is none there, and one here")
    drawn = random.Random(slots)
    sequence = [min(int(drawn.paretovariate(0.6)), 60) for _ in range(3000)]
    ours = hits(name, [[key] for key in sequence], slots, n_experts=64)
    expected = theirs(getattr(libcachesim, theirs_is), sequence, slots)
    assert sum(ours) == sum(expected)
