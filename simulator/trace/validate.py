"""Refuse a trace that contradicts itself, naming the sequence, position and model layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.errors import InputError
from simulator.trace.core import DECODE, MISSING, PREFILL, Floats, Ids, Trace
from simulator.trace.shapes import check_header, check_shapes

Bools = npt.NDArray[np.bool_]


def validate(trace: Trace) -> None:
    """Check header, shapes, token order, expert ids, weights and recorded flags of ``trace``.

    Errors: InputError at the first fault, with what is allowed there.
    """
    where = trace.source or "trace"
    check_header(trace.header, where)
    check_shapes(trace, where)
    refuse = _Refuser(trace, where)
    _check_tokens(refuse)
    _check_rows(refuse, "experts", trace.experts)
    for depth, ids in enumerate(trace.predicted, start=1):
        _check_rows(refuse, f"predicted_{depth}", ids)
        beyond = ids[:, :, 0] != MISSING
        beyond[:, : max(trace.header.n_layers - depth, 0)] = False
        refuse.rows(beyond, f"predicted_{depth} of a layer past the last", "-1 there")
    if trace.gate_top is not None:
        _check_range(refuse, "gate_top", trace.gate_top)
    for name, values, ids in _weight_columns(trace):
        bad = ~(np.isfinite(values) & (values >= 0)) & (ids != MISSING)
        refuse.rows(bad, f"{name} is negative or not a number", "allowed: finite, 0 or more")
    _check_recorded(refuse)


@dataclass(frozen=True, slots=True)
class _Refuser:
    """Raises InputError at the first marked token or row of a trace."""

    trace: Trace
    where: str

    def tokens(self, bad: npt.NDArray[Any], what: str, hint: str) -> None:
        """Raise if any token in ``bad`` [T] is marked."""
        if bad.any():
            raise InputError(self.where, f"{self._token(int(bad.argmax()))}: {what}", hint)

    def pairs(self, bad: npt.NDArray[Any], what: str, hint: str) -> None:
        """Raise if any pair of neighbours in ``bad`` [T - 1] is marked, naming the later."""
        self.tokens(np.concatenate([[False], bad]), what, hint)

    def rows(self, bad: npt.NDArray[Any], what: str, hint: str) -> None:
        """Raise if any row in ``bad`` [T, L] or [T, L, n] is marked."""
        if bad.any():
            token, layer = np.unravel_index(int(bad.argmax()), bad.shape)[:2]
            place = f"{self._token(int(token))} layer {self.trace.header.moe_layers[int(layer)]}"
            raise InputError(self.where, f"{place}: {what}", hint)

    def _token(self, index: int) -> str:
        return f"sequence {self.trace.sequence[index]} position {self.trace.position[index]}"


def _check_tokens(refuse: _Refuser) -> None:
    """Check that sequences are contiguous and ascending, and tokens ordered within each."""
    trace = refuse.trace
    sequence, position, phase = trace.sequence, trace.position, trace.phase
    same = sequence[1:] == sequence[:-1]
    refuse.tokens(sequence < 0, "negative sequence", "allowed: 0 or more")
    refuse.tokens(position < 0, "negative position", "allowed: 0 or more")
    refuse.tokens((phase != PREFILL) & (phase != DECODE), "unknown phase", "allowed: 0 prefill, 1 decode")
    order = "each sequence contiguous, in ascending order"
    refuse.pairs(sequence[1:] < sequence[:-1], "its sequence comes after a later one", order)
    order = "each position of a sequence once, in ascending order"
    refuse.pairs(same & (position[1:] <= position[:-1]), "its position does not ascend", order)
    refuse.pairs(same & (phase[1:] < phase[:-1]), "prefill after decode", "prefill first in each sequence")


def _check_rows(refuse: _Refuser, name: str, ids: Ids) -> None:
    """Check range, that a row is missing whole or not at all, and that no expert repeats in a row."""
    _check_range(refuse, name, ids)
    columns = [np.ascontiguousarray(ids[:, :, slot]) for slot in range(ids.shape[2])]
    absent = columns[0] == MISSING
    for column in columns[1:]:
        refuse.rows(
            (column == MISSING) != absent, f"{name} row is partly missing", "-1 in all of it, or in none"
        )
    repeated = np.zeros(ids.shape[:2], dtype=np.bool_)
    for slot, column in enumerate(columns):
        for other in columns[:slot]:
            repeated |= column == other
    refuse.rows(repeated & ~absent, f"{name} has an expert twice", f"{len(columns)} different experts")


def _check_range(refuse: _Refuser, name: str, ids: Ids) -> None:
    """Check that ids are experts of the model, or -1."""
    n_experts = refuse.trace.header.n_experts
    if ids.min() < MISSING or ids.max() >= n_experts:
        bad: Bools = (ids < MISSING) | (ids >= n_experts)
        hint = f"allowed: 0..{n_experts - 1}, or -1 in a missing row"
        refuse.rows(bad, f"{name} holds {ids[bad][0]}", hint)


def _check_recorded(refuse: _Refuser) -> None:
    """Check the recording engine's flags and bytes."""
    resident, count = refuse.trace.recorded_resident, refuse.trace.recorded_bytes
    if resident is not None:
        hint = "allowed: 1 hit, 0 miss, -1 unknown or missing row"
        missing = refuse.trace.experts == MISSING
        bad = (resident < -1) | (resident > 1) | (missing & (resident != -1))
        refuse.rows(bad, "impossible recorded_resident", hint)
    if count is not None:
        refuse.rows(count < 0, "negative recorded_bytes", "allowed: 0 or more")


def _weight_columns(trace: Trace) -> Iterator[tuple[str, Floats, Ids]]:
    """Yield each array of weights with its name and the ids that it belongs to."""
    if trace.weights is not None:
        yield "weights", trace.weights, trace.experts
    for depth, values in enumerate(trace.predicted_weights, start=1):
        yield f"predicted_weights_{depth}", values, trace.predicted[depth - 1]
    if trace.gate_top is not None and trace.gate_top_p is not None:
        yield "gate_top_p", trace.gate_top_p, trace.gate_top
