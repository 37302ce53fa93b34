"""Words for axes and legends, from the names and values of a summary."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

GIB, MIB = 2**30, 2**20
WIDEST = 34
LINKS = {"cpu": "CPU", "gpu": "GPU", "ssd": "SSD"}


def value_text(value: Any) -> str:
    """Return a cell as text; a JSON mapping as its values, each with its key except for the name."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    text = str(value)
    if text[:1] not in "{[" or not text:
        return text
    try:
        found = json.loads(text)
    except ValueError:
        return text
    if isinstance(found, list):
        return ", ".join(str(item) for item in found)
    return " ".join(str(item) if key == "name" else f"{words(key)} {item}" for key, item in found.items())


def words(key: str) -> str:
    """Return the last part of a dotted key with spaces in it."""
    return key.rsplit(".", 1)[-1].replace("_", " ")


def facet_name(key: str, value: Any) -> str:
    """Return how a panel's title calls a value; what no name of a software says is added."""
    return f"software {value}" if key == "software" else str(value)


def series_name(row: Mapping[Any, Any], rest: Iterable[str], *, named: bool) -> str:
    """Return how the legend calls a run: its system if ``named``, then the other keys that differ."""
    parts = [str(row["system"])] if named else []
    for key in rest:
        if key.endswith("_expert_cache_bytes"):
            every = key.startswith("cpu") and math.isnan(row[key])
            parts.append("all in DRAM" if every else f"{key[:3].upper()} cache {size_text(row[key])}")
        else:
            parts.append(f"{words(key)} {row[key] or 'unset'}")
    return ", ".join(parts) or str(row["system"])


def size_text(n_bytes: float) -> str:
    """Return a number of bytes in GiB or MiB, to three digits."""
    if math.isnan(n_bytes):
        return "none"
    return f"{n_bytes / GIB:.3g} GiB" if n_bytes >= GIB else f"{n_bytes / MIB:.3g} MiB"


def folded(text: str, width: int = WIDEST) -> str:
    """Return text on lines of at most ``width`` letters, broken at spaces and behind hyphens."""
    lines = [textwrap.wrap(line, width) or [""] for line in text.split("\n")]
    return "\n".join(part for found in lines for part in found)


def stall_text(column: str) -> str:
    """Return the legend's words for ``stall_<link>_ms_per_token``."""
    link = column.removeprefix("stall").removesuffix("_ms_per_token").strip("_")
    if not link:
        return "stall"
    ends = [LINKS.get(end, words(end)) for end in link.split("_to_")]
    return "stall " + " to ".join(ends)
