"""Files of rows for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

COMMON = {
    "model": "mixtral-8x7b",
    "hardware": "rtx4090-pcie4",
    "trace": "mixtral-stand-in",
    "system": "lru-on-demand",
    "workload": {"max_sequences": 1, "max_decode_tokens": 2},
    "memory.gpu_expert_cache": "12 GiB",
}
ROW = {
    "id": "one",
    "quantity": "decode_tokens_per_second",
    "value": 2.0,
    "unit": "tok/s",
    "where": "Table 1",
}


def row(**changed: Any) -> dict[str, Any]:
    """Return a row; a key that is None is left out."""
    return {key: value for key, value in (ROW | changed).items() if value is not None}


def write_rows(path: Path, *rows: dict[str, Any], **changed: Any) -> Path:
    """Write a file of rows (one by default), with keys of the file changed."""
    source = {"title": "A paper", "address": "https://example.org"}
    data = {"source": source, "common": COMMON, "rows": list(rows or [ROW])} | changed
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return path
