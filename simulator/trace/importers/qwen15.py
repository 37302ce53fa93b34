"""Routes JSON of moe_ocs_learning (Qwen1.5-MoE on MLX): one run a file, prompt and decode.

``meta`` gives the sizes; ``routes[]`` a token each: token_pos, token_id, phase, and for every
layer experts in rank order with weights (softmax over all experts).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from simulator.errors import InputError
from simulator.trace.core import DECODE, PREFILL, Trace
from simulator.trace.header import build_header
from simulator.trace.importers.arrays import dense_rows, layer_number, token_columns, weights_kind
from simulator.trace.importers.limits import brief
from simulator.trace.importers.options import ImportOptions
from simulator.trace.importers.text import first_json, json_files

PHASES = {"prefill": PREFILL, "decode": DECODE}
SAME = ("model_id", "num_layers", "num_experts", "top_k", "backend")


def sniff(path: Path) -> bool:
    """Tell whether this is a routes JSON, or a folder of them, by its ``meta``."""
    return {b"meta", b"model_id", b"num_moe_layers", b"backend"} <= set(first_json(path).split(b'"'))


def read(path: Path, options: ImportOptions) -> Trace:
    """Return the trace of a file, or of a folder of files as a sequence each."""
    where, tokens, order, names = str(path), [], [], []
    meta: dict[str, Any] = {}
    for run, (name, content) in enumerate(json_files(path)):
        try:
            found = {key: content["meta"][key] for key in SAME}
            for route in content["routes"]:
                order.append((run, route["token_pos"], PHASES[route["phase"]], route["token_id"]))
                rows = {
                    layer_number(layer): (row["experts"], row["weights"])
                    for layer, row in route["layers"].items()
                }
                tokens.append(rows)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                name, f"not a routes JSON ({brief(error)})", "it has meta and routes[]"
            ) from error
        if meta and found != meta:
            raise InputError(
                name, "another model or size than the file before", "one folder holds one model's runs"
            )
        meta = found
        names.append(Path(name).stem)
    layers = sorted({layer for token in tokens for layer in token})
    experts, weights = dense_rows(tokens, layers, where)
    if experts.shape[2] != meta["top_k"]:
        raise InputError(where, f"{experts.shape[2]} experts a token", f"meta says top_k {meta['top_k']}")
    header = build_header(
        where,
        model=options.model or meta["model_id"],
        n_layers=len(layers),
        n_experts=meta["num_experts"],
        top_k=meta["top_k"],
        moe_layers=layers,
        n_model_layers=meta["num_layers"],
        weights=weights_kind(experts, weights, where),
        recorder=f"moe_ocs_learning ({meta['backend']})",
        prompt_source="one run each: " + ", ".join(names),
        licence=options.licence or "MIT if published by jinlong-huo/moe_ocs_learning",
    )
    sequence, position, phase, ids = token_columns(order, where)
    return Trace(
        header, sequence, position, phase.astype(np.uint8), experts, weights, token_id=ids, source=where
    )
