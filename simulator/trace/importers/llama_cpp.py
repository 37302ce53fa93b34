"""Routing CSV of llama.cpp, written by the evaluation callback of docs/guides/llama-cpp.md.

A `#` line gives model, layers, experts and k; then a line for each row of each layer's top-k tensor:
sequence, phase (0 prompt, 1 decode), pass (one evaluation of the graph, counted from 0), n_tokens of
the pass, layer, n_rows of the tensor, row, expert_0 to expert_(k-1), best first. The last layer
computes only the tokens whose logits were asked for, so its rows are the last ones of the pass.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.errors import InputError
from simulator.trace.core import MISSING, Trace
from simulator.trace.header import build_header
from simulator.trace.importers.arrays import as_ids
from simulator.trace.importers.csv_columns import read_csv
from simulator.trace.importers.options import ImportOptions
from simulator.trace.importers.tables import Grid, grid
from simulator.trace.importers.text import check_facts, head, key_values, preamble

FIRST_WORDS = "# moesim llama.cpp routing 1"
COLUMNS = dict.fromkeys(("sequence", "pass", "n_tokens", "layer", "n_rows", "row"), "int32") | {
    "phase": "string"
}
MOST_K = 1024

Columns = dict[str, npt.NDArray[Any]]


def sniff(path: Path) -> bool:
    """Tell whether this was written by the callback, by its first line."""
    return head(path).startswith(FIRST_WORDS.encode())


def read(path: Path, options: ImportOptions) -> Trace:
    """Return the trace of a recording; positions count the tokens of a sequence's passes."""
    where = str(path)
    found = preamble(path)
    if not found or not found[0].startswith(FIRST_WORDS):
        raise InputError(
            where, f"its first line does not begin '{FIRST_WORDS}'", "see docs/guides/llama-cpp.md"
        )
    facts = key_values(found[0])
    check_facts(where, facts, "a routing CSV of llama.cpp")
    k = int(facts["n_expert_used"])
    if not 0 < k <= MOST_K:
        raise InputError(where, f"n_expert_used={k}", f"allowed: 1..{MOST_K}")
    slots = [f"expert_{slot}" for slot in range(k)]
    columns = read_csv(
        path, "a routing CSV of llama.cpp", COLUMNS | dict.fromkeys(slots, "int32"), len(found)
    )
    rows = _place(where, columns)
    experts = as_ids(rows.dense(np.stack([columns[name] for name in slots], axis=1), MISSING), where)
    header = build_header(
        where,
        model=options.model or Path(facts["model"].strip()).name.removesuffix(".gguf"),
        n_layers=len(rows.layers),
        n_experts=int(facts["n_expert"]),
        top_k=k,
        moe_layers=rows.layers,
        n_model_layers=int(facts["n_layer"]),
        recorder="llama.cpp evaluation callback",
        licence=options.licence,
        notes="the last layer's rows of prompt tokens without logits were never computed",
    )
    return Trace(
        header,
        rows.sequence,
        rows.position,
        rows.of_tokens(columns["phase"], "phase"),
        experts,
        source=where,
    )


def _place(where: str, columns: Columns) -> Grid:
    """Return where the rows belong: the last row of a layer is the last token of its pass."""
    number, sequence, n_tokens = columns["pass"], columns["sequence"], columns["n_tokens"].astype(np.int64)
    if not len(number):
        raise InputError(where, "no routed tokens", "a trace has at least one")
    row, n_rows = columns["row"], columns["n_rows"]
    begins = np.concatenate([[True], number[1:] != number[:-1]])
    of_pass = np.cumsum(begins) - 1
    faults = {
        "passes are not in order": np.concatenate([[False], number[1:] < number[:-1]]),
        "its pass has another sequence or n_tokens": (sequence != sequence[begins][of_pass])
        | (n_tokens != n_tokens[begins][of_pass]),
        "row, n_rows and n_tokens do not fit": (row < 0) | (row >= n_rows) | (n_rows > n_tokens),
    }
    for what, bad in faults.items():
        if bad.any():
            at = int(bad.argmax())
            place = f"pass {number[at]} layer {columns['layer'][at]} row {row[at]}"
            raise InputError(where, f"{place}: {what}", "0 <= row < n_rows <= n_tokens, pass after pass")
    before = np.zeros(int(begins.sum()), dtype=np.int64)
    tokens, sequences = n_tokens[begins], sequence[begins]
    for one in np.unique(sequences):
        mine = sequences == one
        before[mine] = np.cumsum(tokens[mine]) - tokens[mine]
    return grid(where, sequence, before[of_pass] + n_tokens - n_rows + row, columns["layer"])
