"""Writes what torch.save writes, opcode by opcode, so that the reader is not tested against itself."""

from __future__ import annotations

import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

STORAGES = {
    "f8": "Double",
    "f4": "Float",
    "f2": "Half",
    "i8": "Long",
    "i4": "Int",
    "i2": "Short",
    "i1": "Char",
    "u1": "Byte",
    "b1": "Bool",
}
ORDERED_DICT = b"ccollections\nOrderedDict\n)R"


@dataclass
class Tensor:
    """A tensor: its storage's items, and what the pickle says of it, which may be a lie."""

    items: np.ndarray
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int = 0
    key: str | None = None
    storage: str | None = None
    n_items: int | None = None


def tensor(array: np.ndarray) -> Tensor:
    """Return a contiguous tensor of an array."""
    array = np.ascontiguousarray(array).reshape(array.shape)
    return Tensor(array.reshape(-1), array.shape, tuple(step // array.itemsize for step in array.strides))


def text(value: str) -> bytes:
    """Return BINUNICODE."""
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def whole(value: int) -> bytes:
    """Return BININT, or LONG1 where that is too small."""
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def leaf(value: str | float | None) -> bytes:
    """Return the opcode of a value that holds no others."""
    if isinstance(value, str):
        return text(value)
    if value is None or isinstance(value, bool):
        return {None: b"N", True: b"\x88", False: b"\x89"}[value]
    return whole(value) if isinstance(value, int) else b"G" + struct.pack(">d", value)


class Writer:
    """The pickle of a value and the storages that it refers to."""

    def __init__(self) -> None:
        self.storages: dict[str, bytes] = {}

    def opcodes(self, value: Any) -> bytes:
        """Return the opcodes that push a value; bytes are opcodes already."""
        if isinstance(value, list | tuple):
            begin, end = (b"](", b"e") if isinstance(value, list) else (b"(", b"t")
            return begin + b"".join(map(self.opcodes, value)) + end
        if isinstance(value, dict):
            return b"}(" + b"".join(self.opcodes(part) for pair in value.items() for part in pair) + b"u"
        if isinstance(value, Tensor | np.ndarray):
            return self.tensor(value if isinstance(value, Tensor) else tensor(value))
        return value if isinstance(value, bytes) else leaf(value)

    def tensor(self, value: Tensor) -> bytes:
        """Return the opcodes of a tensor, having kept its storage."""
        key = value.key if value.key is not None else str(len(self.storages))
        self.storages.setdefault(key, value.items.tobytes())
        storage = value.storage or STORAGES[value.items.dtype.str[1:]] + "Storage"
        n_items = len(value.items) if value.n_items is None else value.n_items
        name = f"ctorch\n{storage}\n".encode()
        persistent = b"(" + text("storage") + name + text(key) + text("cpu") + whole(n_items) + b"tQ"
        shape = self.opcodes(value.offset) + self.opcodes(value.size) + self.opcodes(value.stride)
        return b"ctorch._utils\n_rebuild_tensor_v2\n(" + persistent + shape + b"\x89" + ORDERED_DICT + b"tR"


def save(
    path: Path,
    value: Any,
    *,
    compression: int = zipfile.ZIP_STORED,
    byteorder: bytes | None = b"little",
    pickle: bytes | None = None,
    extra: dict[str, bytes] | None = None,
) -> Path:
    """Write a .pt. ``pickle`` replaces the whole pickle, ``extra`` adds entries or replaces them."""
    writer = Writer()
    data = b"\x80\x02" + writer.opcodes(value) + b"."
    entries = {"data.pkl": data if pickle is None else pickle}
    if byteorder is not None:
        entries["byteorder"] = byteorder
    entries |= {f"data/{key}": items for key, items in writer.storages.items()} | (extra or {})
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in entries.items():
            file.writestr(f"{path.stem}/{name}", content)
    return path
