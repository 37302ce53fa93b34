"""Statistics of a chosen size, against counts in plain Python."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.trace.core import Trace
from simulator.trace.synth.generate import synthesise
from simulator.trace.synth.like import joined
from simulator.trace.synth.parameters import Parameters
from simulator.trace.synth.shape import header_of
from simulator.trace.synth.sized import measure_sized, parse
from simulator.trace.synth.statistics import measure

SHAPE = {"layers": 2, "experts": 7, "top_k": 2, "sequences": 3, "prefill": 0, "decode": (13, 5, 20)}


def drawn(seed: int = 0, **given) -> Trace:
    parameters = Parameters(**{**SHAPE, "seed": seed, **given})
    return joined(synthesise(parameters, header_of(parameters)))


def rows_of(trace: Trace, layer: int) -> list[list[tuple[int, list[int]]]]:
    """Return (position, experts) of the recorded rows of a layer, sequence by sequence."""
    sequences: dict[int, list[tuple[int, list[int]]]] = {}
    for sequence, position, ids in zip(
        trace.sequence.tolist(), trace.position.tolist(), trace.experts[:, layer].tolist(), strict=True
    ):
        sequences.setdefault(sequence, []).append((position, ids))
    return list(sequences.values())


def lru_by_hand(sequences: list[list[tuple[int, list[int]]]], size: int) -> float:
    hits = uses = 0
    for rows in sequences:
        cache: list[int] = []  # the least recently used first
        for _, ids in rows:
            if ids[0] < 0:
                continue
            hits += sum(expert in cache for expert in ids)
            uses += len(ids)
            cache = [expert for expert in cache if expert not in ids] + ids
            cache = cache[-size:]
    return hits / uses


def within_by_hand(sequences: list[list[tuple[int, list[int]]]], n: int) -> float:
    found = uses = 0
    for rows in sequences:
        for position, ids in rows:
            if ids[0] < 0 or position - rows[0][0] < n:
                continue
            before = {expert for p, other in rows if position - n <= p < position for expert in other}
            found += sum(expert in before for expert in ids)
            uses += len(ids)
    return found / uses


@given(st.integers(0, 50), st.integers(2, 7), st.integers(1, 4))
def test_counts_agree_with_plain_python(seed: int, size: int, n: int) -> None:
    trace = drawn(seed)
    missing = trace.experts.copy()
    missing[2:6, 1] = -1
    trace = replace(trace, experts=missing)
    found = measure_sized(trace, [f"lru_hit_{size}", f"within_{n}", f"top_{n}", "reuse_1"])
    assert len(found) == 3
    for layer in range(2):
        sequences = rows_of(trace, layer)
        assert found[f"lru_hit_{size}"][layer] == pytest.approx(lru_by_hand(sequences, size))
        assert found[f"within_{n}"][layer] == pytest.approx(within_by_hand(sequences, n))
        uses = [e for rows in sequences for _, ids in rows for e in ids if e >= 0]
        counts = sorted((uses.count(e) for e in range(7)), reverse=True)
        assert found[f"top_{n}"][layer] == pytest.approx(sum(counts[:n]) / len(uses))


def test_within_one_token_is_reuse_and_lru_of_all_misses_first_uses_alone() -> None:
    trace = drawn(decode=60)
    found = measure_sized(trace, ["within_1", "lru_hit_7", "top_7"])
    np.testing.assert_allclose(found["within_1"], measure(trace)["reuse_1"])
    np.testing.assert_allclose(found["top_7"], 1)
    for layer in range(2):
        first = [len({e for _, ids in rows for e in ids}) for rows in rows_of(trace, layer)]
        assert found["lru_hit_7"][layer] == pytest.approx(1 - sum(first) / (2 * trace.n_tokens))


def test_a_layer_that_was_not_recorded_has_no_value() -> None:
    trace = drawn()
    missing = trace.experts.copy()
    missing[:, 0] = -1
    for values in measure_sized(replace(trace, experts=missing), ["lru_hit_3", "within_2", "top_1"]).values():
        assert np.isnan(values).tolist() == [True, False]


@pytest.mark.parametrize("name", ["reuse_4", "lru_hit", "top_share", "within_0", "top_-1", "lru_hit_2.5"])
def test_names_without_a_size_are_none(name: str) -> None:
    assert parse(name) is None
