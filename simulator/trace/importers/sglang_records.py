"""Records of SGLang's expert-distribution recorder: forward passes, with the model's own experts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from simulator.errors import InputError
from simulator.trace.core import MISSING
from simulator.trace.importers.arrays import as_ids, token_columns
from simulator.trace.importers.limits import check_size
from simulator.trace.importers.torch_pickle import load

EXTEND, DECODE, MIXED = 1, 2, 3
HOW = "record with --expert-distribution-recorder-mode per_token"
SLOT_BYTES = 32  # of a slot while physical ids become logical ones and passes are joined
Ints = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Pass:
    """A forward pass: ids and positions [n], the model's experts [n, layers, slots], lengths of its runs.

    A run is what one request adds to the pass: a token when decoding, all or a chunk of its prompt else.
    """

    mode: int
    token_id: npt.NDArray[np.int32]
    position: npt.NDArray[np.int32]
    experts: npt.NDArray[np.int16]
    lengths: list[int]

    @property
    def n_decoded(self) -> int:
        """How many runs were decoded: in a mixed pass those of one token at its end, but for the first."""
        if self.mode != MIXED:
            return len(self.lengths) if self.mode == DECODE else 0
        longer = [place for place, length in enumerate(self.lengths) if length > 1]
        return len(self.lengths) - 1 - max(longer, default=0)


def read_rank(file: Path) -> tuple[list[Pass], int]:
    """Return the passes with tokens of a file, and the number of the model's experts."""
    where = str(file)
    content = load(file)
    records = content.get("records") if isinstance(content, dict) else None
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise InputError(where, "no list of records, as in files of counts", HOW)
    arrays = [record.get("topk_ids_of_layer") for record in records]
    if not all(_is_ints(array, axes=3) for array in arrays):
        raise InputError(where, "no topk_ids_of_layer, as in files of counts", HOW)
    check_size(where, sum(max(array.size, array.shape[1]) for array in arrays) * SLOT_BYTES)
    to_logical = content.get("last_physical_to_logical_map")
    if not _is_ints(to_logical, axes=2) or to_logical.min() < 0:
        raise InputError(where, "no last_physical_to_logical_map", "a table [layers, physical experts]")
    passes = [
        _read_pass(record, array, to_logical, f"{where} record {number}")
        for number, (record, array) in enumerate(zip(records, arrays, strict=True))
        if array.shape[1]
    ]
    return passes, int(to_logical.max()) + 1


def _read_pass(record: dict[str, Any], ids: Ints, to_logical: Ints, where: str) -> Pass:
    """Return a pass. Errors: InputError (lists that do not fit it, experts that there are not)."""
    mode, lengths = record.get("forward_mode"), record.get("extend_seq_lens")
    if type(mode) is not int or mode not in (EXTEND, DECODE, MIXED):
        hint = "1 EXTEND, 2 DECODE, 3 MIXED: record without speculative decoding"
        raise InputError(where, f"forward_mode {mode if type(mode) is int else type(mode).__name__}", hint)
    n_layers, n_tokens, _ = ids.shape
    n_physical = to_logical.shape[1]
    columns = [record.get(name) for name in ("input_ids", "positions")]
    if not all(_are_ints(column) and len(column) == n_tokens for column in columns):
        raise InputError(
            where, "input_ids and positions do not fit", f"a number for each of {n_tokens} tokens"
        )
    token_id, position = token_columns(list(zip(*columns, strict=True)), where)
    if len(to_logical) != n_layers or ids.min() < MISSING or ids.max() >= n_physical:
        what = f"{n_layers} layers, experts {ids.min()} to {ids.max()}"
        hint = f"{len(to_logical)} layers, -1..{n_physical - 1}; record with --disable-shared-experts-fusion"
        raise InputError(where, what, hint)
    logical = np.take_along_axis(to_logical[:, None], ids.clip(0), axis=2)
    experts = as_ids(np.where(ids == MISSING, MISSING, logical).transpose(1, 0, 2), where)
    if mode == DECODE:
        return Pass(mode, token_id, position, experts, [1] * n_tokens)
    if not _are_ints(lengths) or min(lengths, default=0) < 1 or sum(lengths) != n_tokens:
        raise InputError(where, "extend_seq_lens does not fit", f"numbers from 1, {n_tokens} together")
    within = np.diff(position) == 1
    within[np.cumsum(lengths)[:-1] - 1] = True
    if not within.all():
        what = f"position {position[1:][~within][0]} after {position[:-1][~within][0]}"
        raise InputError(where, what, "a prompt's positions follow each other")
    return Pass(mode, token_id, position, experts, lengths)


def _is_ints(value: Any, axes: int) -> bool:
    """Tell whether this is a tensor of whole numbers with so many axes, the first and last not empty."""
    return (
        isinstance(value, np.ndarray)
        and value.dtype.kind == "i"
        and value.ndim == axes
        and value.shape[0] * value.shape[-1] > 0
    )


def _are_ints(value: Any) -> TypeGuard[list[int]]:
    """Tell whether this is a list of whole numbers."""
    return type(value) is list and all(type(number) is int for number in value)
