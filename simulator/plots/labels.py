"""Words on figures: names of series, values of swept keys."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def value_text(value: object) -> str:
    """Return a cell as people read it: ``{"name": "lfu"}`` is lfu, and a mapping its pairs."""
    text = str(value)
    if not text.startswith("{"):
        return text
    try:
        found = json.loads(text)
    except ValueError:
        return text
    name = found.pop("name", None)
    pairs = ", ".join(f"{key} {inner}" for key, inner in found.items())
    return f"{name} ({pairs})" if name and pairs else str(name or pairs)


def series_name(row: Mapping[Any, Any], has_system: bool, rest: list[str]) -> str:  # noqa: FBT001 (one caller)
    """Return what tells a run's series apart: the system where it varies, then other keys with values."""
    parts = [str(row["system"])] if has_system or not rest else []
    parts += [f"{name.rsplit('.', 1)[-1].replace('_', ' ')} {row[name]}" for name in rest]
    return ", ".join(parts)
