"""Any CSV with a line for each chosen expert.

Columns, by default names (``key`` renames them): ``position``, ``layer`` (the model's own number) and
``expert``; optional ``sequence`` (one sequence if absent), ``slot`` (rank from 0; the order of the
lines if absent), ``weight``, ``phase`` (prefill or 0, decode or 1; else the option says) and
``token_id``. Layers may come in any order, tokens within a layer come in theirs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from simulator.errors import InputError, did_you_mean
from simulator.trace.core import MISSING, Trace
from simulator.trace.header import build_header
from simulator.trace.importers.arrays import as_ids, weights_kind
from simulator.trace.importers.csv_columns import csv_names, read_csv
from simulator.trace.importers.generic import choose_phases, model_fields
from simulator.trace.importers.limits import brief
from simulator.trace.importers.options import ImportOptions
from simulator.trace.importers.tables import grid

REQUIRED = dict.fromkeys(("position", "layer", "expert"), "int32")
OPTIONAL = dict.fromkeys(("sequence", "slot", "token_id"), "int32") | {"weight": "float32", "phase": "string"}
MOST_K = 1024


def read(path: Path, options: ImportOptions) -> Trace:
    """Return the trace of a CSV. Needs ``n_experts`` or a known ``model``, and ``phase`` if it has none."""
    where = str(path)
    names = _names(path, options)
    types = REQUIRED | OPTIONAL
    found = read_csv(path, "this CSV", {theirs: types[ours] for ours, theirs in names.items()})
    columns = {ours: found[theirs] for ours, theirs in names.items()}
    sequence = columns.get("sequence", np.zeros(len(columns["layer"]), dtype=np.int32))
    rows = grid(where, sequence, columns["position"], columns["layer"])
    slot = columns["slot"] if "slot" in columns else rows.slots()
    if slot.min() < 0 or slot.max() >= MOST_K:
        raise InputError(where, f"slots from {slot.min()} to {slot.max()}", f"allowed: 0..{MOST_K - 1}")
    k = int(slot.max()) + 1
    experts = as_ids(rows.dense(columns["expert"][:, None], MISSING, k, slot), where)
    weights = rows.dense(columns["weight"][:, None], 0, k, slot) if "weight" in columns else None
    recorded = rows.of_tokens(columns["phase"], "phase") if "phase" in columns else None
    phase, source = choose_phases(recorded, options, rows.sequence)
    header = build_header(
        where,
        **model_fields(where, options, rows.layers, "a CSV"),
        top_k=k,
        weights="none" if weights is None else weights_kind(experts, weights, where),
        phase_source=source,
        recorder=f"unknown (csv {path.name})",
    )
    return Trace(
        header,
        rows.sequence,
        rows.position,
        phase,
        experts,
        weights,
        token_id=rows.of_tokens(columns["token_id"], "token_id") if "token_id" in columns else None,
        source=where,
    )


def _names(path: Path, options: ImportOptions) -> dict[str, str]:
    """Return the file's names of our columns, of those that it has."""
    allowed = REQUIRED | OPTIONAL
    for ours in options.key:
        if ours not in allowed:
            raise InputError("--key", f"unknown '{ours}'", did_you_mean(ours, allowed))
    there = csv_names(path)
    names = {ours: options.key.get(ours, ours) for ours in allowed}
    for ours, theirs in names.items():
        if theirs not in there and (ours in REQUIRED or ours in options.key):
            hint = did_you_mean(theirs, map(brief, there))
            raise InputError(str(path), f"no column '{theirs}'", f"{hint} (--key {ours}=NAME)")
    return {ours: theirs for ours, theirs in names.items() if theirs in there}
