"""Parquet traces of moe-policylang: a row for each (prompt, token, layer), in the order of its hooks.

Columns: ``prompt_id``, ``token_idx``, ``layer_idx`` (the model's own number), ``selected_experts``
(best first), and where they were asked for ``router_scores`` (of the selected, softmax over all),
``router_softmax`` (all experts), ``token_id`` and ``phase`` (prefill, decode). Rows come layer by
layer within a forward pass. Source: TraceRecording.save_parquet of moe-policylang 1.15.
"""

from __future__ import annotations

from pathlib import Path

from simulator.errors import InputError
from simulator.trace.core import MISSING, Trace
from simulator.trace.header import build_header
from simulator.trace.importers.arrays import as_ids, as_int32, phase_codes, weights_kind
from simulator.trace.importers.generic import choose_phases, model_fields
from simulator.trace.importers.options import ImportOptions
from simulator.trace.importers.parquet_columns import lists, names_of, read_columns
from simulator.trace.importers.tables import grid

KEYS = ("prompt_id", "token_idx", "layer_idx")
WHOLE = ("int32", "int64")
OPTIONAL = {"router_scores": ("list float",), "token_id": WHOLE, "phase": ("string", "large_string")}
TYPES = dict.fromkeys(KEYS, WHOLE) | {"selected_experts": ("list int32", "list int64")} | OPTIONAL


def sniff(path: Path) -> bool:
    """Tell whether this is a Parquet file with the recorder's columns."""
    return {*KEYS, "selected_experts"} <= set(names_of(path))


def read(path: Path, options: ImportOptions) -> Trace:
    """Return the trace of a recording; ``n_experts`` or a known ``model`` must say how many experts."""
    where = str(path)
    columns = read_columns(path, TYPES, tuple(OPTIONAL))
    chosen = lists(columns["selected_experts"], where)
    rows = grid(where, *(columns[name].to_numpy() for name in KEYS))
    if chosen.shape[1] == 0:
        raise InputError(where, "empty lists in 'selected_experts'", "k experts in each row")
    k = chosen.shape[1]
    experts = as_ids(rows.dense(chosen, MISSING), where)
    weights = None
    if "router_scores" in columns:
        scores = lists(columns["router_scores"], where)
        if scores.shape != chosen.shape:
            raise InputError(where, f"router_scores have k {scores.shape[1]}", f"{k}, as selected_experts")
        weights = rows.dense(scores, 0)
    recorded = phase_codes(columns["phase"], where) if "phase" in columns else None
    phase, source = choose_phases(
        None if recorded is None else rows.of_tokens(recorded, "phase"), options, rows.sequence
    )
    ids = rows.of_tokens(columns["token_id"].to_numpy(), "token_id") if "token_id" in columns else None
    header = build_header(
        where,
        **model_fields(where, options, rows.layers, "moe-policylang's Parquet"),
        top_k=k,
        weights="none" if weights is None else weights_kind(experts, weights, where),
        phase_source=source,
        recorder="moe-policylang",
    )
    return Trace(
        header,
        rows.sequence,
        rows.position,
        phase,
        experts,
        weights,
        token_id=None if ids is None else as_int32(ids, "token_id", where),
        source=where,
    )
