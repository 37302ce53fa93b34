"""What prefetchers wish for, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from policies.base import Wish
from policies.registry import create
from simulator.errors import InputError
from tests.policies.tools import bound, context, event, trace

# Two tokens, three layers, k = 2: the gates of the next layer, then of the one after it.
NEXT = np.array([[[2, 1], [5, 4], [-1, -1]], [[1, 7], [4, 6], [-1, -1]]], np.int16)
AFTER = np.array([[[3, 0], [-1, -1], [-1, -1]], [[0, 6], [-1, -1], [-1, -1]]], np.int16)
EXPERTS = np.zeros((2, 3, 2), np.int16) + np.array([0, 1], np.int16)


def lookahead(n_layers=1, weights=()):
    recorded = trace(EXPERTS, predicted=(NEXT, AFTER), predicted_weights=weights)
    run = context(n_layers=3, trace=recorded)
    return bound("prefetch", {"name": "gate-lookahead", "n_layers": n_layers}, run)


def asked(policy, **at):
    return [(wish.key, wish.layer) for wish in policy.wishes(event([0, 1], **at), set())]


def test_none_wishes_for_nothing():
    assert list(bound("prefetch", "none", context()).wishes(event([0]), set())) == []


def test_the_oracle_names_the_true_demand_of_the_next_steps():
    run = context([[1], [12, 10], [], [3, 1]], n_layers=2)
    one, three = (bound("prefetch", {"name": "oracle", "n_layers": n}, run) for n in (1, 3))
    assert list(one.wishes(event([1]), set())) == [Wish(12, 1), Wish(10, 1)]
    assert asked(three) == [(12, 1), (10, 1), (3, 3), (1, 3)]
    assert asked(three, index=2) == [(3, 1), (1, 1)]  # nothing past the end


def test_one_token_ranks_by_its_own_order():
    assert asked(lookahead(), rows=(0,)) == [(8 + 2, 1), (8 + 1, 1)]
    assert asked(lookahead(), rows=(0,), layer=1) == [(16 + 5, 1), (16 + 4, 1)]


def test_tokens_are_united_by_points_of_rank():
    # expert 1: 1/3 + 2/3; expert 2: 2/3; expert 7: 1/3
    [first, second, third] = lookahead().wishes(event([0, 1], rows=(0, 1)), set())
    assert [wish.key - 8 for wish in (first, second, third)] == [1, 2, 7]
    assert [wish.score for wish in (first, second, third)] == pytest.approx([1, 2 / 3, 1 / 3])


def test_recorded_weights_decide_each_token_normalised_over_k():
    weights = np.zeros((2, 3, 2), np.float16)
    weights[0, 0] = [0.9, 0.1]  # 2, 1
    weights[1, 0] = [0.02, 0.02]  # 1, 7: a token whose raw weights are small counts as much
    policy = lookahead(weights=(weights, weights))
    found = policy.wishes(event([0, 1], rows=(0, 1)), set())
    assert [wish.key - 8 for wish in found] == [2, 1, 7]
    assert [wish.score for wish in found] == pytest.approx([0.9, 0.6, 0.5], rel=1e-3)


def test_weights_that_vanished_do_not_matter():
    weights = np.zeros((2, 3, 2), np.float16)
    assert asked(lookahead(weights=(weights, weights)), rows=(0,)) == [(9, 1), (10, 1)]


def test_nearer_layers_come_first_and_missing_rows_are_skipped():
    assert asked(lookahead(2), rows=(0,)) == [(10, 1), (9, 1), (16 + 3, 2), (16 + 0, 2)]
    assert asked(lookahead(2), rows=(0,), layer=1) == [(21, 1), (20, 1)]
    assert asked(lookahead(2), rows=(0, 1), layer=2) == []


def test_looking_further_than_the_trace_is_refused():
    recorded = trace(EXPERTS, predicted=(NEXT, AFTER))
    with pytest.raises(InputError, match="looks 3 layers ahead; the trace predicts 2"):
        create("prefetch", {"name": "gate-lookahead", "n_layers": 3}).check(recorded)
