"""The columns of a Parquet trace, and their translation to and from the dense arrays.

One row per (sequence, position, MoE layer), in that order, none left out: a row that was not
recorded holds -1. ``layer`` counts MoE layers (0..L-1; the header's ``moe_layers`` gives the
model's own numbers). What belongs to a token (``sequence``, ``position``, ``phase``,
``token_id``) is repeated on its L rows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.errors import InputError, did_you_mean
from simulator.trace.core import Trace, TraceHeader

Array = npt.NDArray[Any]

TOKEN_COLUMNS = {"sequence": np.int32, "position": np.int32, "phase": np.uint8, "token_id": np.int32}
REQUIRED = ("sequence", "position", "layer", "phase", "experts")
OPTIONAL = ("weights", "token_id", "gate_top", "gate_top_p", "recorded_resident", "recorded_bytes")
IDS, FLOATS = ("int8", "int16"), ("halffloat", "float")
ROW_TYPES = {
    "experts": IDS,
    "weights": FLOATS,
    "predicted": IDS,
    "predicted_weights": FLOATS,
    "gate_top": IDS,
    "gate_top_p": FLOATS,
    "recorded_resident": ("int8",),
    "recorded_bytes": ("int64",),
}


def arrays_of(trace: Trace) -> dict[str, Array]:
    """Return the trace's arrays by column name: [T] for a token's, [T, L, n] for a row's."""
    arrays: dict[str, Array | None] = {
        "sequence": trace.sequence,
        "position": trace.position,
        "phase": trace.phase,
        "token_id": trace.token_id,
        "experts": trace.experts,
        "weights": trace.weights,
    }
    arrays |= {f"predicted_{d}": a for d, a in enumerate(trace.predicted, start=1)}
    arrays |= {f"predicted_weights_{d}": a for d, a in enumerate(trace.predicted_weights, start=1)}
    arrays |= {name: getattr(trace, name) for name in OPTIONAL[2:]}
    return {name: array for name, array in arrays.items() if array is not None}


def to_table(trace: Trace) -> Any:
    """Return the ``pyarrow.Table`` of a valid trace; ids are int8 where the experts' numbers fit."""
    import pyarrow as pa

    n_layers = trace.header.n_layers
    id_type = np.int8 if trace.header.n_experts <= 1 + np.iinfo(np.int8).max else np.int16
    columns: dict[str, Any] = {}
    for name, array in arrays_of(trace).items():
        if name == "phase":
            columns["layer"] = pa.array(np.tile(np.arange(n_layers, dtype=np.int16), trace.n_tokens))
        if name in TOKEN_COLUMNS:
            columns[name] = pa.array(np.repeat(array, n_layers))
            continue
        values = array.astype(id_type) if array.dtype == np.int16 else array
        element = pa.field("element", pa.from_numpy_dtype(values.dtype), nullable=False)
        columns[name] = pa.FixedSizeListArray.from_arrays(
            pa.array(values.reshape(-1)), type=pa.list_(element, array.shape[2])
        )
    fields = [pa.field(name, column.type, nullable=False) for name, column in columns.items()]
    return pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields))


def from_table(table: Any, header: TraceHeader, where: str) -> Trace:
    """Return the trace of a table of whole tokens. Errors: InputError where columns contradict the header."""
    check_columns(table.schema, header, where)
    n_layers = header.n_layers
    n_tokens = table.num_rows // n_layers
    arrays: dict[str, Array] = {}
    for name in table.column_names:
        values = _values(table.column(name), name, where).reshape(n_tokens, n_layers, _width(name, header))
        if name == "layer":
            if (values[:, :, 0] != np.arange(n_layers)).any():
                hint = f"layers 0..{n_layers - 1} of each token, one after another"
                raise InputError(where, "rows are not in order", hint)
        elif name in TOKEN_COLUMNS:
            if (values != values[:, :1]).any():
                raise InputError(where, f"{name} differs between the layers of a token", "one value a token")
            arrays[name] = values[:, 0, 0].copy()
        else:
            arrays[name] = values.astype(np.int16 if ROW_TYPES[_stem(name)] is IDS else values.dtype)
    return from_arrays(arrays, header, where)


def from_arrays(arrays: Mapping[str, Array], header: TraceHeader, source: str) -> Trace:
    """Return the trace of arrays by column name: the inverse of ``arrays_of``."""
    plain: dict[str, Any] = {
        name: array for name, array in arrays.items() if not name.startswith("predicted")
    }
    ahead: dict[str, Any] = {
        stem: tuple(arrays[f"{stem}_{d}"] for d in range(1, 1 + len(arrays)) if f"{stem}_{d}" in arrays)
        for stem in ("predicted", "predicted_weights")
    }
    return Trace(header=header, **plain, **ahead, source=source)


def check_columns(schema: Any, header: TraceHeader, where: str) -> None:
    """Check names and types of a file's columns against its header."""
    for name in REQUIRED:
        if name not in schema.names:
            raise InputError(where, f"no column '{name}'", "not a moesim trace")
    depths = range(1, 1 + _depth(schema.names))
    numbered = {f"predicted{weights}_{d}" for d in depths for weights in ("", "_weights")}
    allowed = {*REQUIRED, *OPTIONAL, *numbered}
    for column in schema:
        name, found = column.name, column.type
        if name not in allowed or schema.names.count(name) > 1:
            raise InputError(where, f"unknown or repeated column '{name}'", did_you_mean(name, allowed))
        size: int | None = None
        kinds: tuple[str, ...] = (np.dtype(TOKEN_COLUMNS.get(name, np.int16)).name,)
        value = found
        if name not in TOKEN_COLUMNS and name != "layer":
            size, kinds = _width(name, header), ROW_TYPES[_stem(name)]
            value = getattr(found, "value_type", None)
        if getattr(found, "list_size", None) != size or str(value) not in kinds:
            lists = f" in fixed-size lists of {size}, says the header" if size else ""
            raise InputError(where, f"column '{name}' is {found}", " or ".join(kinds) + lists)


def _values(column: Any, name: str, where: str) -> Array:
    """Return a column's values, lists laid end to end. Errors: InputError (empty cells)."""
    flat = column.combine_chunks()
    empty = flat.null_count
    if hasattr(flat.type, "list_size"):
        flat = flat.flatten()
        empty += flat.null_count
    if empty:
        raise InputError(where, f"column '{name}' has {empty} empty cells", "a missing row holds -1")
    values: Array = flat.to_numpy(zero_copy_only=False)
    return values


def _width(name: str, header: TraceHeader) -> int:
    """Return how many values a row of this column has."""
    if name in TOKEN_COLUMNS or name == "layer":
        return 1
    return header.top_k * (2 if name.startswith("gate_top") else 1)


def _depth(names: list[str]) -> int:
    """Count the layers ahead that were predicted."""
    return sum(re.fullmatch(r"predicted_\d+", name) is not None for name in names)


def _stem(name: str) -> str:
    """Strip the number of a prediction column."""
    return re.sub(r"_\d+$", "", name)
