"""Who predicts the experts of later layers: the gates as recorded, or an assumption of stated accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from policies.base import Context
from simulator.errors import InputError
from simulator.trace.core import MISSING, Trace

Choices = tuple[list[list[int]], list[list[float]]]
CHUNK = 1024


class Predictor(Protocol):
    """Predicts a token's experts some MoE layers ahead."""

    def choices(self, rows: Sequence[int], layer: int, ahead: int) -> Choices:
        """Return experts and weights [tokens][k] of layer ``layer + ahead``; -1 past the last layer."""


def check_reach(trace: Trace, reach: int, accuracy: Sequence[float] | None, *, stated: bool = False) -> None:
    """Refuse a reach that neither the trace nor the assumption has. Errors: InputError."""
    where, fault = "policies.prefetch", f"looks {reach} layers ahead"
    if stated and accuracy is None:
        raise InputError(where, "a stated predictor has no accuracy", "such as accuracy: [0.9, 0.8]")
    if trace.predicted and not stated:
        if reach > len(trace.predicted):
            raise InputError(where, fault, f"the trace predicts {len(trace.predicted)}")
    elif accuracy is None:
        hint = "state the accuracy to assume, by distance, such as accuracy: [0.9, 0.8]"
        raise InputError(where, "the trace has no recorded predictions", hint)
    elif reach > len(accuracy):
        raise InputError(where, fault, f"accuracy has {len(accuracy)} entries, one for each distance")


def predictor(
    context: Context, reach: int, accuracy: Sequence[float] | None, *, stated: bool = False
) -> Predictor:
    """Return the recorded predictor where the trace has one and none is ``stated``, else the assumed one."""
    assert context.trace is not None
    if context.trace.predicted and not stated:
        return RecordedGates(context.trace)
    return Assumed(context.trace, (accuracy or [])[:reach], context.seed)


class RecordedGates:
    """What the gates of later layers said of this layer's input when the trace was recorded.

    Where their weights were not recorded, a token's choices weigh as k, k-1, ..., 1.
    """

    def __init__(self, trace: Trace) -> None:
        self.predicted, self.weights = trace.predicted, trace.predicted_weights

    def choices(self, rows: Sequence[int], layer: int, ahead: int) -> Choices:
        """Return what was recorded."""
        at = np.asarray(rows, dtype=np.intp), layer
        experts: list[list[int]] = self.predicted[ahead - 1][at].tolist()
        if self.weights:
            return experts, self.weights[ahead - 1][at].tolist()
        return experts, [_by_slot(len(row)) for row in experts]


class Assumed:
    """The truth, each expert of which is replaced by a wrong one with probability 1 - accuracy (by distance).

    A wrong expert is drawn evenly from those that the token does not use there, and takes the weight of
    the one whose place it has (of its slot, k, k-1, ..., 1, in a trace without weights).
    """

    def __init__(self, trace: Trace, accuracy: Sequence[float], seed: int) -> None:
        self.trace = trace
        draw = np.random.Generator(np.random.PCG64(seed))
        self.predicted = [self._garbled(share, draw) for share in accuracy]

    def _garbled(self, accuracy: float, draw: np.random.Generator) -> npt.NDArray[np.int16]:
        experts, n = self.trace.experts, self.trace.header.n_experts
        n_tokens, n_layers, k = experts.shape
        found = experts.copy()
        for start in range(0, n_tokens, CHUNK):
            true = experts[start : start + CHUNK]
            order = draw.random((len(true), n_layers, n), dtype=np.float32)
            np.put_along_axis(order, np.maximum(true, 0).astype(np.intp), np.float32(2), axis=2)
            wrong = np.argsort(order, axis=2)[:, :, :k].astype(np.int16)
            wrong[:, :, max(0, n - k) :] = MISSING  # there are not more experts
            there = draw.random(true.shape) < accuracy
            found[start : start + CHUNK] = np.where(there | (true < 0), true, wrong)
        return found

    def choices(self, rows: Sequence[int], layer: int, ahead: int) -> Choices:
        """Return the garbled truth of the later layer."""
        at = np.asarray(rows, dtype=np.intp), layer + ahead
        if layer + ahead >= self.trace.header.n_layers:
            nothing = [[MISSING] * self.trace.header.top_k for _ in rows]
            return nothing, [[0.0] * len(row) for row in nothing]
        experts: list[list[int]] = self.predicted[ahead - 1][at].tolist()
        if self.trace.weights is not None:
            return experts, self.trace.weights[at].tolist()
        return experts, [_by_slot(len(row)) for row in experts]


def _by_slot(k: int) -> list[float]:
    return [float(n) for n in range(k, 0, -1)]
