"""What is no trace is refused, in a line that names sequence, position and layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from simulator.errors import InputError
from simulator.trace.core import Trace
from simulator.trace.validate import validate
from tests.trace.examples import one_line, random_trace

SEQUENCE, POSITION, LAYER = 3, 12, 2
PLACE = f"sequence {SEQUENCE} position {POSITION}"


def example() -> Trace:
    """Return a trace of two sequences with every column; its token 4 is (3, 12)."""
    rng = np.random.default_rng(0)
    base = random_trace(0, layers=3, experts=8, k=2, extras=True)
    shape = (6, 3, 2)

    def ids(width: int = 2) -> np.ndarray:
        return rng.random((6, 3, 8)).argsort(axis=2)[:, :, :width].astype(np.int16)

    ahead = ids()
    ahead[:, 2:] = -1
    return replace(
        base,
        sequence=np.array([0, 0, 0, 3, 3, 3], np.int32),
        position=np.array([0, 1, 2, 11, 12, 13], np.int32),
        phase=np.array([0, 0, 1, 1, 1, 1], np.uint8),
        experts=ids(),
        weights=rng.random(shape).astype(np.float16),
        predicted=(ahead,),
        predicted_weights=(rng.random(shape).astype(np.float16),),
        gate_top=ids(4),
        gate_top_p=rng.random((6, 3, 4)).astype(np.float16),
        token_id=np.arange(6, dtype=np.int32),
        recorded_resident=np.ones(shape, np.int8),
        recorded_bytes=np.zeros(shape, np.int64),
    )


def test_good_traces_pass() -> None:
    validate(example())
    for seed in range(20):
        validate(random_trace(seed, ahead=seed % 4, extras=seed % 2 == 0))


def set_at(name: str, index: Any, value: Any) -> Callable[[Trace], Trace]:
    """Return a change of one cell of an array (of the first, where there are several)."""

    def change(trace: Trace) -> Trace:
        array = getattr(trace, name)
        (array[0] if isinstance(array, tuple) else array)[index] = value
        return trace

    return change


CELL = (4, 1, 0)
ROW = f"{PLACE} layer {LAYER}: "


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (set_at("experts", CELL, 8), ROW + "experts holds 8; allowed: 0..7"),
        (set_at("experts", CELL, -2), ROW + "experts holds -2"),
        (set_at("experts", CELL, -1), ROW + "experts row is partly missing"),
        (set_at("experts", (4, 1), [5, 5]), ROW + "experts has an expert twice"),
        (set_at("experts", (4, 1), -1), ROW + "impossible recorded_resident"),
        (set_at("weights", CELL, -0.5), ROW + "weights is negative or not a number"),
        (set_at("weights", CELL, np.nan), ROW + "weights is negative or not a number"),
        (set_at("weights", CELL, np.inf), ROW + "weights is negative or not a number"),
        (set_at("predicted", (4, 1), [5, 5]), ROW + "predicted_1 has an expert twice"),
        (set_at("predicted", (4, 2), [5, 6]), "layer 3: predicted_1 of a layer past the last"),
        (set_at("predicted_weights", CELL, np.nan), ROW + "predicted_weights_1 is negative"),
        (set_at("gate_top", CELL, 9), ROW + "gate_top holds 9"),
        (set_at("gate_top_p", CELL, -1), ROW + "gate_top_p is negative"),
        (set_at("recorded_resident", CELL, 2), ROW + "impossible recorded_resident"),
        (set_at("recorded_bytes", CELL, -1), ROW + "negative recorded_bytes"),
        (set_at("position", 4, 11), "sequence 3 position 11: its position does not ascend"),
        (set_at("position", 4, -1), "sequence 3 position -1: negative position"),
        (set_at("phase", 4, 0), PLACE + ": prefill after decode"),
        (set_at("phase", 4, 2), PLACE + ": unknown phase"),
        (set_at("sequence", 0, 5), "sequence 0 position 1: its sequence comes after a later one"),
        (set_at("sequence", 5, 0), "sequence 0 position 13: its sequence comes after a later one"),
        (set_at("sequence", 0, -1), "sequence -1 position 0: negative sequence"),
    ],
)
def test_faults_are_placed(change: Callable[[Trace], Trace], words: str) -> None:
    with pytest.raises(InputError) as caught:
        validate(change(example()))
    assert words in one_line(caught.value)


def with_header(**fields: Any) -> Callable[[Trace], Trace]:
    """Return a change of header fields."""
    return lambda trace: replace(trace, header=trace.header.model_copy(update=fields))


def without(**fields: Any) -> Callable[[Trace], Trace]:
    """Return a change of whole arrays."""
    return lambda trace: replace(trace, **fields)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (with_header(moe_layers=(1, 2)), "moe_layers has 2 entries"),
        (with_header(moe_layers=(1, 3, 2)), "ascending"),
        (with_header(moe_layers=(3, 4, 5)), "allowed: 0..4"),
        (with_header(expert_bytes=(1, 2)), "expert_bytes has 2 entries"),
        (with_header(dense_bytes=(1, 2)), "dense_bytes has 2 entries"),
        (with_header(expert_tensor_bytes=((1000,),) * 2), "expert_tensor_bytes has 2 entries"),
        (
            with_header(expert_tensor_bytes=((600, 400), (1000,), (600, 401))),
            "expert_tensor_bytes of layer 2 are 1001 bytes in all; those of expert_bytes: 1000",
        ),
        (
            with_header(expert_bytes=None, expert_tensor_bytes=((1000,),) * 3),
            "expert_tensor_bytes without expert_bytes",
        ),
        (with_header(top_k=9), "top_k 9"),
        (with_header(n_experts=40_000), "n_experts 40000"),
        (with_header(weights="none"), "weights is 'none'"),
        (without(weights=None), "there are none"),
        (without(gate_top=None), "only one of gate_top"),
        (without(predicted=()), "1 predicted_weights for 0 predicted"),
        (without(experts=np.zeros((6, 3, 3), np.int16)), "experts has shape (6, 3, 3)"),
        (without(experts=np.zeros((0, 3, 2), np.int16)), "no tokens"),
        (without(experts=np.zeros((6, 3, 2), np.int64)), "experts is int64"),
        (without(weights=np.zeros((6, 3, 2))), "weights is float64"),
        (without(phase=np.zeros(5, np.uint8)), "phase has shape (5,)"),
    ],
)
def test_contradictions_are_said(change: Callable[[Trace], Trace], words: str) -> None:
    with pytest.raises(InputError) as caught:
        validate(change(example()))
    assert words in one_line(caught.value)
