"""Shared by the readers: rows to dense arrays, decimals to floats, whole numbers to their width."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from simulator.errors import InputError
from simulator.trace.core import DECODE, MISSING, PREFILL, Floats, Ids
from simulator.trace.importers.limits import brief, check_size

SUM_TOLERANCE, MOST_OFF, MAJORITY = 0.01, 0.05, 0.99
DENSE_BYTES = 16  # of a slot while rows become arrays: its id and its weight, before they are narrowed
Row = tuple[Sequence[int], Sequence[float]]


def dense_rows(tokens: Sequence[Mapping[int, Row]], layers: Sequence[int], where: str) -> tuple[Ids, Floats]:
    """Return experts and weights [T, L, k] of tokens that map model layers to (experts, weights).

    A layer that a token lacks becomes a missing row. Errors: InputError (rows of unequal length).
    """
    try:
        k = max((len(experts) for token in tokens for experts, _ in token.values()), default=0)
    except TypeError as error:
        raise InputError(where, f"experts: {error}", "a list of numbers for each layer") from error
    shape = (len(tokens), len(layers), k)
    check_size(where, len(tokens) * len(layers) * k * DENSE_BYTES)
    ids, weights = np.full(shape, float(MISSING)), np.zeros(shape)
    column = {layer: index for index, layer in enumerate(layers)}
    for t, token in enumerate(tokens):
        for layer, row in token.items():
            try:
                if not len(row[0]) == len(row[1]) == k:
                    what = f"token {t} layer {layer}: {len(row[0])} experts, {len(row[1])} weights"
                    raise InputError(where, what, f"{k}")
                ids[t, column[layer]], weights[t, column[layer]] = row
            except (ValueError, TypeError, OverflowError) as error:
                what = f"token {t} layer {layer}: {brief(str(error))}"
                raise InputError(where, what, "lists of numbers") from error
    if not (np.isfinite(ids) & (ids == np.rint(ids))).all():
        raise InputError(where, "an expert is not a whole number", "ids are whole numbers")
    return as_ids(np.clip(ids, -(2.0**31), 2.0**31).astype(np.int64), where), narrow(weights)


def layer_number(text: str) -> int:
    """Return a layer's number. Errors: ValueError (anything but up to 4 digits, none of them a leading 0)."""
    if not re.fullmatch(r"0|[1-9][0-9]{0,3}", text):
        raise ValueError(f"'{brief(text)}' is no number of a layer")
    return int(text)


def as_ids(values: npt.NDArray[Any], where: str) -> Ids:
    """Return expert ids as int16. Errors: InputError (none, fractions, or numbers that do not fit)."""
    if values.size == 0:
        raise InputError(where, "no routed tokens", "a trace has at least one")
    if values.dtype.kind not in "iu":
        raise InputError(where, f"experts are {values.dtype}", "whole numbers")
    if values.min() < MISSING or values.max() > np.iinfo(np.int16).max:
        raise InputError(
            where, f"experts from {values.min()} to {values.max()}", f"-1..{np.iinfo(np.int16).max}"
        )
    return values.astype(np.int16)


def narrow(values: npt.NDArray[np.float64]) -> Floats:
    """Return decimals in the width that they were recorded in: float16 if that is exact, else float32."""
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
        return half if (half == values).all() else values.astype(np.float32)


def as_int32(values: npt.NDArray[Any], name: str, where: str) -> npt.NDArray[np.int32]:
    """Return a number for each token as int32. Errors: InputError (fractions, or too large)."""
    limit = np.iinfo(np.int32).max
    if values.dtype.kind not in "iub":
        raise InputError(where, f"'{name}' is {values.dtype}", f"whole numbers up to {limit}")
    if values.size and not -limit <= int(values.min()) <= int(values.max()) <= limit:
        raise InputError(where, f"'{name}' goes from {values.min()} to {values.max()}", f"up to {limit}")
    return values.astype(np.int32)


def as_phase(values: npt.NDArray[Any], where: str) -> npt.NDArray[np.uint8]:
    """Return phases [T]. Errors: InputError (anything but 0 prefill and 1 decode)."""
    numbers = as_int32(values, "phase", where)
    if not np.isin(numbers, (PREFILL, DECODE)).all():
        raise InputError(where, "unknown phase", "allowed: 0 prefill, 1 decode")
    return numbers.astype(np.uint8)


def phase_codes(column: Any, where: str) -> npt.NDArray[np.uint8]:
    """Return phases of an Arrow column of words: prefill or 0, decode or 1. Errors: InputError (others)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = pc.index_in(column, value_set=pa.array(["prefill", "decode", "0", "1"], column.type))
    if found.null_count:
        raise InputError(where, "unknown phase", "allowed: prefill or 0, decode or 1")
    codes: npt.NDArray[np.uint8] = (found.to_numpy() % 2).astype(np.uint8)
    return codes


def token_columns(rows: Sequence[tuple[Any, ...]], where: str) -> list[npt.NDArray[np.int32]]:
    """Return columns [T] of one tuple a token. Errors: InputError (not whole numbers of 32 bits)."""
    columns = [list(column) for column in zip(*rows, strict=True)]
    hint = "whole numbers of 32 bits"
    for value in (value for column in columns for value in column):
        if type(value) is not int:
            raise InputError(where, f"a token's position or id: {brief(value)}", hint)
    try:
        return [np.array(column, dtype=np.int32) for column in columns]
    except OverflowError as error:
        raise InputError(where, f"a token's position or id: {error}", hint) from error


def weights_kind(experts: Ids, weights: Floats, where: str) -> Literal["softmax", "renormalised", "sigmoid"]:
    """Tell from the sums over k: mostly 1 is renormalised, hardly ever above 1 softmax, else sigmoid.

    Narrow floats make single rows sum to a little more or less.

    Errors: InputError (weights that are no floats, or not one for each expert).
    """
    if weights.shape != experts.shape or weights.dtype.kind != "f":
        what = f"weights are {weights.dtype} of shape {weights.shape}"
        raise InputError(where, what, f"a float for each expert: {experts.shape}")
    sums = weights.astype(np.float64).sum(axis=2)[experts[:, :, 0] != MISSING]
    off = np.abs(sums - 1)
    if not len(off) or (np.median(off) <= SUM_TOLERANCE and off.max() <= MOST_OFF):
        return "renormalised"
    return "softmax" if (sums <= 1 + SUM_TOLERANCE).mean() >= MAJORITY else "sigmoid"
