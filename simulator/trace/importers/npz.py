"""Any npz of routing arrays, or npy of experts alone, whose axis order is stated and never guessed.

Arrays of an npz, by default names (``key`` renames them): ``experts`` and optional ``weights`` with three
axes; optional per token ``sequence`` (one sequence if absent), ``position`` (counted from 0 if
absent), ``phase`` (0 prefill, 1 decode; else the option says) and ``token_id``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.errors import InputError, did_you_mean
from simulator.trace.core import Trace
from simulator.trace.header import build_header
from simulator.trace.importers.arrays import as_ids, as_int32, as_phase, weights_kind
from simulator.trace.importers.generic import choose_phases, model_fields
from simulator.trace.importers.npy import MAGIC, load_npy, load_npz
from simulator.trace.importers.options import ImportOptions, index_in_sequence
from simulator.trace.importers.text import head

AXES = ("token", "layer", "k")
KEYS = ("experts", "weights", "sequence", "position", "phase", "token_id")


def read(path: Path, options: ImportOptions) -> Trace:
    """Return the trace. Needs ``axes``, ``n_experts`` or a known ``model``, and ``phase`` if it has none."""
    where = str(path)
    if sorted(options.axes or ()) != sorted(AXES):
        given = "'" + ",".join(options.axes) + "'" if options.axes else "missing"
        raise InputError(
            "--axes", given, "the arrays' axes in order: token, layer and k, such as token,layer,k"
        )
    arrays = _arrays(path, options)
    experts = as_ids(arrays["experts"], where)
    n_tokens, n_layers, k = experts.shape
    weights = arrays.get("weights")
    if weights is not None and weights.dtype == np.float64:
        with np.errstate(over="ignore"):
            weights = weights.astype(np.float32)
    sequence = (
        as_int32(arrays["sequence"], "sequence", where)
        if "sequence" in arrays
        else np.zeros(n_tokens, dtype=np.int32)
    )
    position = (
        as_int32(arrays["position"], "position", where)
        if "position" in arrays
        else index_in_sequence(sequence)
    )
    recorded = as_phase(arrays["phase"], where) if "phase" in arrays else None
    phase, source = choose_phases(recorded, options, sequence)
    header = build_header(
        where,
        **model_fields(where, options, n_layers, "an npz"),
        top_k=k,
        weights="none" if weights is None else weights_kind(experts, weights, where),
        phase_source=source,
        recorder=f"unknown (npz {path.name})",
    )
    return Trace(
        header=header,
        sequence=sequence,
        position=position,
        phase=phase,
        experts=experts,
        weights=weights,
        token_id=as_int32(arrays["token_id"], "token_id", where) if "token_id" in arrays else None,
        source=where,
    )


def _arrays(path: Path, options: ImportOptions) -> dict[str, npt.NDArray[Any]]:
    """Return the file's arrays by our names, rows with axes token, layer, k."""
    where = str(path)
    file = {"experts": load_npy(path)} if head(path).startswith(MAGIC) else load_npz(path)
    arrays = {}
    for ours in options.key:
        if ours not in KEYS:
            raise InputError("--key", f"unknown '{ours}'", did_you_mean(ours, KEYS))
    for ours in KEYS:
        theirs = options.key.get(ours, ours)
        if theirs in file:
            arrays[ours] = file[theirs]
        elif ours == "experts" or ours in options.key:
            raise InputError(
                where, f"no array '{theirs}'", did_you_mean(theirs, file) + f" (--key {ours}=NAME)"
            )
    axes = options.axes or AXES
    for ours, array in arrays.items():
        is_row = ours in ("experts", "weights")
        dimensions = len(AXES) if is_row else 1
        if array.ndim != dimensions:
            raise InputError(where, f"'{ours}' has shape {array.shape}", f"{dimensions} axes")
        if is_row:
            arrays[ours] = np.ascontiguousarray(array.transpose([axes.index(axis) for axis in AXES]))
    return arrays
