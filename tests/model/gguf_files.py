"""Headers of GGUF files, written by hand from the description of the format (ggml/docs/gguf.md)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TYPES = {
    "F32": 0,
    "F16": 1,
    "Q4_0": 2,
    "Q8_0": 8,
    "Q4_K": 12,
    "Q5_K": 13,
    "Q6_K": 14,
    "BF16": 30,
    "MXFP4": 39,
}
Tensors = Mapping[str, tuple[tuple[int, ...], str]]


def text(said: str) -> bytes:
    data = said.encode()
    return struct.pack("<Q", len(data)) + data


def value(one: Any) -> bytes:
    if isinstance(one, bool):
        return struct.pack("<I?", 7, one)
    if isinstance(one, int):
        return struct.pack("<II", 4, one)
    if isinstance(one, str):
        return struct.pack("<I", 8) + text(one)
    return struct.pack("<IIQ", 9, 5, len(one)) + struct.pack(f"<{len(one)}i", *one)


def write(path: Path, facts: Mapping[str, Any], tensors: Tensors, version: int = 3) -> Path:
    """Write a header, and nothing of the weights."""
    data = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(facts))
    for key, one in facts.items():
        data += text(key) + value(one)
    for name, (shape, kind) in tensors.items():
        data += text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        data += struct.pack("<IQ", TYPES[kind], 0)
    path.write_bytes(data)
    return path
