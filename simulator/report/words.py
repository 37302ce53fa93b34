"""Columns and numbers of a summary as a reader sees them."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from simulator.analysis.labels import size_text

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
SIGNIFICANT = 4


def heading(column: str) -> str:
    """Return a column's name in words: ``stall (ms/token)`` for ``stall_ms_per_token``."""
    for pattern, words in SPELLED:
        column = re.sub(pattern, words, column)
    return column


def decimals(values: pd.Series[float]) -> int:
    """Return how many decimals show the largest of a column's numbers to four digits; 0 for integers."""
    found = values[values.map(math.isfinite)].abs()
    if found.empty or not (found % 1).any():
        return 0
    return min(SIGNIFICANT, max(1, SIGNIFICANT - 1 - math.floor(math.log10(found.max()))))


def number(value: float, places: int) -> str:
    """Return a number with ``places`` decimals, with more where those would leave less than two digits."""
    if places and 0 < abs(value) < 1:
        places = max(places, 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{places}f}" if places <= 9 else f"{value:.1e}"


def exact(value: float) -> str:
    """Return a number in full."""
    return str(int(value)) if math.isfinite(value) and value % 1 == 0 else repr(float(value))


def bytes_text(value: float) -> str:
    """Return a number of bytes in a binary unit that fits."""
    return size_text(value) if value >= 2**20 else f"{value:,.0f} B"


def is_bytes(column: str) -> bool:
    """Return whether a column counts bytes."""
    return column.startswith("bytes_") or column.endswith("_bytes")
