"""Small valid traces for the tests of traces, seeded; and where the recorded ones lie."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from simulator.trace.core import Trace, TraceHeader
from tests.places import SHARED

RECORDED = SHARED / "traces"
needs_recorded = pytest.mark.skipif(
    not RECORDED.is_dir(), reason="recorded traces of others are not shipped: no ../shared/traces"
)


def random_trace(
    seed: int = 0, *, layers: int = 3, experts: int = 8, k: int = 2, ahead: int = 0, extras: bool = False
) -> Trace:
    """Return a valid trace of 1-3 sequences; ``extras`` adds every optional column."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 6, rng.integers(1, 4))
    n_tokens = int(lengths.sum())

    def ids(width: int = k) -> np.ndarray:
        order = rng.random((n_tokens, layers, experts)).argsort(axis=2)
        return order[:, :, :width].astype(np.int16)

    def floats(width: int = k) -> np.ndarray:
        kind = np.float16 if seed % 2 else np.float32
        return rng.random((n_tokens, layers, width)).astype(kind)

    chosen = ids()
    missing = rng.random((n_tokens, layers)) < 0.1
    chosen[missing] = -1
    predicted = tuple(ids() for _ in range(ahead))
    for depth, array in enumerate(predicted, start=1):
        array[:, max(layers - depth, 0) :] = -1
    flags = rng.integers(-1, 2, chosen.shape).astype(np.int8)
    flags[missing] = -1
    header = TraceHeader(
        model="tiny",
        n_layers=layers,
        n_experts=experts,
        top_k=k,
        moe_layers=tuple(range(1, layers + 1)),
        n_model_layers=layers + 2,
        weights="sigmoid" if extras else "none",
        expert_bytes=(1000,) * layers if extras else None,
        expert_tensor_bytes=tuple((600, 400 - i, i) for i in range(1, layers + 1)) if extras else None,
        recorder="test",
    )
    starts = rng.integers(0, 50, len(lengths))
    return Trace(
        header=header,
        sequence=np.repeat(np.arange(len(lengths)) * 3, lengths).astype(np.int32),
        position=np.concatenate([s + np.arange(n) for s, n in zip(starts, lengths, strict=True)]).astype(
            np.int32
        ),
        phase=np.concatenate([np.sort(rng.integers(0, 2, n)) for n in lengths]).astype(np.uint8),
        experts=chosen,
        weights=floats() if extras else None,
        predicted=predicted,
        predicted_weights=tuple(floats() for _ in range(ahead)) if extras else (),
        gate_top=ids(2 * k) if extras and 2 * k <= experts else None,
        gate_top_p=floats(2 * k) if extras and 2 * k <= experts else None,
        token_id=rng.integers(0, 1 << 30, n_tokens).astype(np.int32) if extras else None,
        recorded_resident=flags if extras else None,
        recorded_bytes=rng.integers(0, 1 << 40, chosen.shape) if extras else None,
    )


def assert_same(one: Trace, other: Trace) -> None:
    """Assert that two traces hold the same header, and the same arrays in the same dtypes."""
    for field in fields(Trace):
        if field.name == "source":
            continue
        first, second = getattr(one, field.name), getattr(other, field.name)
        if isinstance(first, np.ndarray):
            first, second = (first,), (second,)
        if not isinstance(first, tuple):
            assert first == second, field.name
            continue
        assert len(first) == len(second), field.name
        for a, b in zip(first, second, strict=True):
            assert a.dtype == b.dtype, field.name
            np.testing.assert_array_equal(a, b, err_msg=field.name)


def one_line(error: BaseException) -> str:
    """Return the message, having asserted that it is one line."""
    message = str(error)
    assert message
    assert "\n" not in message
    return message
