"""Recording in the tests: three prompts of different lengths through a tiny model."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.trace.core import Trace
from simulator.trace.recorders.gates import find_gates
from simulator.trace.recorders.huggingface import LoadedModel, make_header
from simulator.trace.recorders.record import Settings, record

PROMPTS = [[5, 17, 33, 2, 90, 41, 8], [61, 3, 3], [12, 77, 20, 9, 54]]
ARRAYS = ("sequence", "position", "phase", "experts", "weights", "gate_top", "gate_top_p", "token_id")


def record_all(model: Any, *, stop: frozenset[int] = frozenset(), **settings: Any) -> Trace:
    """Return the trace of all prompts, its chunks joined."""
    gates = find_gates(model, PROMPTS[0])
    loaded = LoadedModel("tiny", model, None, model.config.num_hidden_layers, 128, stop)
    header = make_header(loaded, gates, dtype="float32")
    chunks = list(
        record(model, gates, header, PROMPTS, Settings(**{"keep_text": True, **settings}), stop=stop)
    )
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in ARRAYS
    }
    for name in ("predicted", "predicted_weights"):
        by_distance = zip(*(getattr(chunk, name) for chunk in chunks), strict=True)
        arrays[name] = tuple(np.concatenate(parts) for parts in by_distance)
    return Trace(header=header, **arrays)


def assert_same(one: Trace, other: Trace) -> None:
    """Compare every array of two traces."""
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    for name in ("predicted", "predicted_weights"):
        for mine, theirs in zip(getattr(one, name), getattr(other, name), strict=True):
            np.testing.assert_array_equal(mine, theirs, err_msg=name)
