"""Recorded residency, replayed."""

from __future__ import annotations

import numpy as np

from tests.policies.tools import bound, context, event, trace


def test_a_lookup_is_answered_by_the_first_row_that_demands_the_expert():
    experts = [[[0, 1], [0, 1]], [[1, 2], [5, 3]], [[-1, -1], [3, 5]]]
    flags = np.array([[[1, 0], [0, 0]], [[1, 1], [1, 0]], [[-1, -1], [1, 0]]], np.int8)
    run = context(n_layers=2, trace=trace(experts, recorded_resident=flags))
    policy = bound("eviction", "recorded", run)
    assert policy.residency(event([0, 1, 2], rows=(0, 1))) == [True, False, True]
    assert policy.residency(event([13, 11], layer=1, rows=(1, 2))) == [True, False]
