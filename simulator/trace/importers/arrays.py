"""Shared by the readers: rows to dense arrays, decimals to floats, JSON to sequences."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from simulator.errors import InputError
from simulator.trace.core import MISSING, Floats, Ids

SUM_TOLERANCE = 0.01
Row = tuple[Sequence[int], Sequence[float]]


def dense_rows(tokens: Sequence[Mapping[int, Row]], layers: Sequence[int], where: str) -> tuple[Ids, Floats]:
    """Return experts and weights [T, L, k] of tokens that map model layers to (experts, weights).

    A layer that a token lacks becomes a missing row. Errors: InputError (rows of unequal length).
    """
    k = max((len(experts) for token in tokens for experts, _ in token.values()), default=0)
    ids = np.full((len(tokens), len(layers), k), float(MISSING))
    weights = np.zeros(ids.shape)
    column = {layer: index for index, layer in enumerate(layers)}
    for t, token in enumerate(tokens):
        for layer, row in token.items():
            if not len(row[0]) == len(row[1]) == k:
                raise InputError(
                    where, f"token {t} layer {layer}: {len(row[0])} experts, {len(row[1])} weights", f"{k}"
                )
            try:
                ids[t, column[layer]], weights[t, column[layer]] = row
            except (ValueError, TypeError) as error:
                raise InputError(where, f"token {t} layer {layer}: {error}", "lists of numbers") from error
    if (ids != np.rint(ids)).any():
        raise InputError(where, "an expert is not a whole number", "ids are whole numbers")
    return as_ids(ids.astype(np.int64), where), narrow(weights)


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
    if values.dtype.kind not in "iub" or (values.size and int(values.max()) > limit):
        raise InputError(where, f"'{name}' is {values.dtype}", f"whole numbers up to {limit}")
    return values.astype(np.int32)


def token_columns(rows: Sequence[tuple[Any, ...]], where: str) -> list[npt.NDArray[np.int32]]:
    """Return columns [T] of one tuple a token. Errors: InputError (not whole numbers of 32 bits)."""
    try:
        return [np.array(column, dtype=np.int32) for column in zip(*rows, strict=True)]
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(where, f"a token's position or id: {error}", "whole numbers of 32 bits") from error


def weights_kind(experts: Ids, weights: Floats, where: str) -> Literal["softmax", "renormalised", "sigmoid"]:
    """Tell from the sums over k: 1 throughout is renormalised, never above 1 softmax, else sigmoid.

    Errors: InputError (weights that are no floats, or not one for each expert).
    """
    if weights.shape != experts.shape or weights.dtype.kind != "f":
        what = f"weights are {weights.dtype} of shape {weights.shape}"
        raise InputError(where, what, f"a float for each expert: {experts.shape}")
    sums = weights.astype(np.float64).sum(axis=2)[experts[:, :, 0] != MISSING]
    if (np.abs(sums - 1) <= SUM_TOLERANCE).all():
        return "renormalised"
    return "softmax" if (sums <= 1 + SUM_TOLERANCE).all() else "sigmoid"


def json_files(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield name and content of a JSON file, or of each ``*.json`` of a folder in order of name."""
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not files:
        raise InputError(str(path), "no *.json in this folder", "one file a sequence")
    for file in files:
        try:
            yield str(file), json.loads(file.read_text(encoding="utf-8"))
        except (ValueError, OSError) as error:
            raise InputError(str(file), f"not JSON ({error})", "it may be truncated") from error


def load_npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of an npz, never unpickling. Errors: InputError (not an npz, pickled objects)."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise InputError(str(path), "holds a single array", "an .npz with one array a name")
            return {name: file[name] for name in file.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(str(path), f"not an npz of plain arrays ({error})", "it may be truncated") from error
