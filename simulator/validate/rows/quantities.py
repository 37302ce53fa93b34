"""What a row can be about, its unit, and how it is read off a run's tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from simulator.results.metrics import Value

SHARE = "share"
QUANTITIES = {
    "decode_tokens_per_second": ("tok/s", "decode speed"),
    "seconds_per_token": ("s", "time per token"),
    "prompt_tokens_per_second": ("tok/s", "prompt speed"),
    "prefill_seconds": ("s", "prompt latency"),
    "hit_rate": (SHARE, "hit rate"),
    "waiting_share": (SHARE, "share of decoding spent waiting"),
    "miss_penalty": ("experts", "miss penalty"),
}
"""By name: the unit, and what pages call it."""
RATIO = "times"
"""The unit of a ratio of two runs, whatever they are compared in."""
Measures = dict[str, float | None]
"""A run's value of each quantity; None where it has none."""


def measure(tokens: Any, metrics: Mapping[str, Value], warm: int) -> Measures:
    """Return a run's quantities, of its ``pyarrow.Table`` of tokens and its summary.

    The first ``warm`` passes that decode are left out. Prompts and the miss penalty are of all the run.
    """
    column = {name: tokens[name].to_numpy() for name in tokens.column_names}
    decodes = column["phase"] == "decode"
    seconds = column["latency_ns"] / 1e9
    _, first = np.unique(column["pass"], return_index=True)  # what a pass did is repeated for its sequences
    one_each = first[decodes[first]][warm:]
    kept = np.isin(column["pass"], column["pass"][one_each]) & decodes
    time, lookups = seconds[one_each].sum(), column["lookups"][one_each].sum()
    waiting = sum(
        column[n][one_each].sum() / 1e9 for n in column if n.startswith(("stall_", "cpu_expert_wait"))
    )
    prompts, n_prompts = ~decodes, len(np.unique(column["sequence"][~decodes]))
    prompt_time = seconds[first[~decodes[first]]].sum()
    penalty = metrics["miss_penalty"]
    return {
        "decode_tokens_per_second": _over(kept.sum(), time),
        "seconds_per_token": _over(time, len(one_each)),
        "prompt_tokens_per_second": _over(column["tokens"][prompts].sum(), prompt_time),
        "prefill_seconds": _over(seconds[prompts].sum(), n_prompts),
        "hit_rate": _over(column["hits"][one_each].sum(), lookups),
        "waiting_share": _over(waiting, time),
        "miss_penalty": float(penalty) if isinstance(penalty, (int, float)) else None,
    }


def _over(above: Any, below: Any) -> float | None:
    return float(above) / float(below) if below else None
