"""Route CSV of BigMoeOnEdge: routing, and what the engine's own expert cache did.

`#` lines give model, layers, experts, k and bytes per layer; then one line per chosen expert:
turn, phase, step (position in the context), layer, slot (rank), expert, weight (nan: unknown),
residency (0 miss, 1 hit, 2 first hit on a prefetched expert), expert_bytes (read for this line).
Columns go by name. Source: docs/telemetry.md of github.com/Helldez/BigMoeOnEdge.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from simulator.errors import InputError
from simulator.trace.core import MISSING, Trace
from simulator.trace.header import build_header
from simulator.trace.importers.arrays import as_ids, weights_kind
from simulator.trace.importers.options import ImportOptions

WHOLE = dict.fromkeys(("turn", "step", "layer", "slot", "expert", "residency"), "int32")
COLUMNS = WHOLE | {"phase": "int8", "expert_bytes": "int64"}
PREFETCHED = 2
PRECISION = re.compile(r"[-._]((?:I?Q\d\w*|TQ\d\w*|MXFP4\w*|BF16|F16|F32))$", re.IGNORECASE)


def read(path: Path, options: ImportOptions) -> Trace:
    """Return the trace of a route CSV; ``turn`` becomes the sequence."""
    where = str(path)
    preamble, facts, layer_bytes = _read_preamble(path)
    rows = _read_rows(path, preamble)
    k, layers = int(facts["n_expert_used"]), np.unique(rows["layer"])
    if not len(layers) or rows["slot"].min() < 0 or rows["slot"].max() >= k:
        raise InputError(where, f"slots do not fit n_expert_used={k}", f"slots 0..{k - 1} of each layer")
    keys = np.stack([rows["turn"], rows["step"], rows["phase"]], axis=1)
    tokens, token = np.unique(keys, axis=0, return_inverse=True)
    place = (token.reshape(-1), np.searchsorted(layers, rows["layer"]), rows["slot"])
    shape = (len(tokens), len(layers), k)
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
    return Trace(
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


def _read_preamble(path: Path) -> tuple[int, dict[str, str], dict[int, dict[str, int]]]:
    """Return the number of `#` lines, the run's facts, and the bytes by model layer."""
    count = 0
    facts: dict[str, str] = {}
    layers: dict[int, dict[str, int]] = {}
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            if not line.startswith("#"):
                break
            count += 1
            pairs = dict(re.findall(r"(\w+)=(.*?)(?=\s+\w+=|\s*$)", line))
            if re.match(r"#\s*layer=\d+\s", line):
                sizes = {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", line)}
                layers[sizes.pop("layer")] = sizes
            else:
                facts.update(pairs)
    for name in ("model", "n_layer", "n_expert", "n_expert_used"):
        if name not in facts or (name != "model" and not facts[name].isdecimal()):
            raise InputError(str(path), f"no '{name}=' in its # lines", "not a route CSV of bigmoe")
    return count, facts, layers


def _read_rows(path: Path, preamble: int) -> dict[str, Any]:
    """Return the columns by name as arrays of int64, and float32 weights."""
    import pyarrow as pa
    from pyarrow import csv

    names = [*COLUMNS, "weight"]
    try:
        table = csv.read_csv(
            path,
            read_options=csv.ReadOptions(skip_rows=preamble),
            convert_options=csv.ConvertOptions(
                column_types={**COLUMNS, "weight": "float32"},
                include_columns=names,
                null_values=["nan", "-nan", "NaN"],
            ),
        )
    except (pa.ArrowException, KeyError) as error:
        reason = str(error).split("\n")[0]
        raise InputError(str(path), reason, "columns of a route CSV: " + ",".join(names)) from error
    if any(table.column(name).null_count for name in COLUMNS):
        raise InputError(str(path), "empty cells", "only weight may be nan")
    return {name: table.column(name).to_numpy() for name in names}


def _by_layer(layer_bytes: dict[int, dict[str, int]], kind: str, layers: list[int]) -> list[int] | None:
    """Return the bytes of each MoE layer, or None where the preamble lacks one."""
    sizes = [layer_bytes.get(layer, {}).get(f"{kind}_bytes", 0) for layer in layers]
    return sizes if all(sizes) else None
