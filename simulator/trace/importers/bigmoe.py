"""Route CSV of BigMoeOnEdge: routing, and what the engine's own expert cache did.

`#` lines give model, layers, experts, k and bytes per layer; then one line per chosen expert:
turn, phase, step (position in the context), layer, slot (rank), expert, weight (nan: unknown),
residency (0 miss, 1 hit, 2 first hit on a prefetched expert), expert_bytes (read for this line).
Columns go by name. The tensors of an expert follow from the run's metrics where they lie beside
(expert_tensors.py). Source: docs/telemetry.md of github.com/Helldez/BigMoeOnEdge.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from simulator.errors import InputError
from simulator.trace.core import MISSING, Trace
from simulator.trace.header import build_header
from simulator.trace.importers.arrays import as_ids, weights_kind
from simulator.trace.importers.csv_columns import read_csv
from simulator.trace.importers.expert_tensors import bytes_read, find_tensors, metrics_beside
from simulator.trace.importers.limits import check_size
from simulator.trace.importers.options import ImportOptions
from simulator.trace.importers.text import check_facts, head, key_values, preamble

WHOLE = dict.fromkeys(("turn", "step", "layer", "slot", "expert", "residency"), "int32")
COLUMNS = WHOLE | {"phase": "int8", "expert_bytes": "int64", "weight": "float32"}
PREFETCHED = 2
SLOT_BYTES = 36  # of a slot in the arrays below
PRECISION = re.compile(r"[-._]((?:I?Q\d\w*|TQ\d\w*|MXFP4\w*|BF16|F16|F32))$", re.IGNORECASE)


def read(path: Path, options: ImportOptions) -> Trace:
    """Return the trace of a route CSV; ``turn`` becomes the sequence."""
    where = str(path)
    n_lines, facts, layer_bytes = _read_preamble(path)
    rows = read_csv(path, "a route CSV", COLUMNS, n_lines)
    k, layers = int(facts["n_expert_used"]), np.unique(rows["layer"])
    if not len(layers) or rows["slot"].min() < 0 or rows["slot"].max() >= k:
        raise InputError(where, f"slots do not fit n_expert_used={k}", f"slots 0..{k - 1} of each layer")
    keys = np.stack([rows["turn"], rows["step"], rows["phase"]], axis=1)
    tokens, token = np.unique(keys, axis=0, return_inverse=True)
    place = (token.reshape(-1), np.searchsorted(layers, rows["layer"]), rows["slot"])
    shape = (len(tokens), len(layers), k)
    check_size(where, math.prod(shape) * SLOT_BYTES)
    count = np.zeros(shape, dtype=np.int64)
    np.add.at(count, place, 1)
    if count.max() > 1:
        turn, step, _ = tokens[int(count.max(axis=(1, 2)).argmax())]
        raise InputError(
            where, f"turn {turn} step {step}: the same slot twice", "one line for each slot of a layer"
        )
    dense = {name: np.full(shape, MISSING, dtype=np.int64) for name in ("expert", "residency")}
    dense["expert_bytes"] = np.zeros(shape, dtype=np.int64)
    for name, array in dense.items():
        array[place] = rows[name]
    weights = np.zeros(shape, dtype=np.float32)
    weights[place] = rows["weight"]
    experts, known = as_ids(dense["expert"], where), not np.isnan(weights).any()
    model = Path(facts["model"].replace("\\", "/")).name.removesuffix(".gguf")
    precision = PRECISION.search(model)
    header = build_header(
        where,
        model=options.model or PRECISION.sub("", model),
        n_layers=len(layers),
        n_experts=int(facts["n_expert"]),
        top_k=k,
        moe_layers=layers.tolist(),
        n_model_layers=int(facts["n_layer"]),
        weights=weights_kind(experts, weights, where) if known else "none",
        **{f"{kind}_bytes": _by_layer(layer_bytes, kind, layers.tolist()) for kind in ("expert", "dense")},
        precision=precision[1] if precision else None,
        recorder="BigMoeOnEdge",
        recorder_version="route_trace v1",
        prompt_source="not stated",
        licence=options.licence or "Apache-2.0 if published by Helldez/BigMoeOnEdge",
        notes="residency 2 (first hit on a prefetched expert) is kept as 1"
        + ("" if known else "; some weights were not recorded, so none are kept"),
    )
    trace = Trace(
        header=header,
        sequence=tokens[:, 0].astype(np.int32),
        position=tokens[:, 1].astype(np.int32),
        phase=tokens[:, 2].astype(np.uint8),
        experts=experts,
        weights=weights if known else None,
        recorded_resident=np.where(dense["residency"] == PREFETCHED, 1, dense["residency"]).astype(np.int8),
        recorded_bytes=dense["expert_bytes"],
        source=where,
    )
    metrics = metrics_beside(path)
    tensors, note = find_tensors(trace, bytes_read(metrics) if metrics else None)
    told = {"expert_tensor_bytes": tensors, "notes": f"{header.notes}; {note}"}
    return replace(trace, header=header.model_copy(update=told))


def sniff(path: Path) -> bool:
    """Tell whether this is a route CSV, by its first line."""
    return head(path).startswith(b"# route_trace v1")


def _read_preamble(path: Path) -> tuple[int, dict[str, str], dict[int, dict[str, int]]]:
    """Return the number of `#` lines, the run's facts, and the bytes by model layer."""
    facts: dict[str, str] = {}
    layers: dict[int, dict[str, int]] = {}
    found = preamble(path)
    for line in found:
        pairs = key_values(line)
        if pairs.get("layer", "").isdecimal() and line[1:].lstrip().startswith("layer="):
            sizes = {name: int(value) for name, value in pairs.items() if re.fullmatch(r"[0-9]{1,18}", value)}
            layers[sizes.pop("layer", -1)] = sizes
        else:
            facts.update(pairs)
    check_facts(str(path), facts, "a route CSV of bigmoe")
    return len(found), facts, layers


def _by_layer(layer_bytes: dict[int, dict[str, int]], kind: str, layers: list[int]) -> list[int] | None:
    """Return the bytes of each MoE layer, or None where the preamble lacks one."""
    sizes = [layer_bytes.get(layer, {}).get(f"{kind}_bytes", 0) for layer in layers]
    return sizes if all(sizes) else None
