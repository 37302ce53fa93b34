"""Columns and numbers of a summary as a reader sees them."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from simulator.analysis.labels import size_text
from simulator.numerals import places

if TYPE_CHECKING:
    import pandas as pd

# What a column's name becomes in a heading, in this order.
SPELLED = (
    (r"^tokens_per_second$", "decoded tokens/s"),
    (r"^throughput_tokens_per_second$", "all tokens/s"),
    (r"^(ttft|tpot)_ms_(\w+)$", r"\1, \2 (ms)"),
    (r"^(cpu|gpu)_expert_cache_bytes$", r"\1 cache size"),
    (r"^policies\.(\w+)$", r"\1 policy"),
    (r"^(memory|policies|runtime|workload)\.", ""),
    (r"^hit_rate_(\w+)$", r"hit rate, \1"),
    (r"^gate_mass_(?!lost)(\w+)$", r"gate mass, \1"),
    (r"_ms_per_token$", " (ms/token)"),
    (r"_percent$", " (%)"),
    (r"^bytes_", "moved "),
    (r"_bytes$", ""),
    (r"[._]", " "),
    (r"\b(cpu|gpu|ssd|ttft|tpot|kv)\b", lambda found: found[0].upper()),
    (r"\bbelady\b", "Belady"),
)


def heading(column: str) -> str:
    """Return a column's name in words: ``stall (ms/token)`` for ``stall_ms_per_token``."""
    for pattern, words in SPELLED:
        column = re.sub(pattern, words, column)
    return column


def decimals(values: pd.Series[float]) -> int:
    """Return how many decimals show the largest of a column's numbers to four digits; 0 for integers."""
    found = values[values.map(math.isfinite)].abs()
    return places(found.max()) if (found % 1).any() else 0


def bytes_text(value: float) -> str:
    """Return a number of bytes in a binary unit that fits."""
    return size_text(value) if value >= 2**20 else f"{value:,.0f} B"


def is_bytes(column: str) -> bool:
    """Return whether a column counts bytes."""
    return column.startswith("bytes_") or column.endswith("_bytes")
