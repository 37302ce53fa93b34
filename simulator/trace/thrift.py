"""Numbers out of Thrift structs in the compact protocol, as Parquet's footer and pages use it.

Only what is needed to check sizes before ``pyarrow`` believes them (its own view of a damaged
footer can end the process). Source: Apache Thrift, doc/specs/thrift-compact-protocol.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, STRUCT = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12
# What bytes that are no struct of the kind that is looked for lead to.
NOT_THRIFT = (LookupError, TypeError, ValueError, RecursionError)


class Compact:
    """Reads values from ``data`` one after another. Errors: those of NOT_THRIFT."""

    def __init__(self, data: bytes) -> None:
        self.at = 0
        self._data = data

    def struct(self) -> dict[int, Any]:
        """Return the fields of a struct by number. A field that is there twice is refused."""
        fields: dict[int, Any] = {}
        for number, kind in self.fields():
            if number in fields:
                raise ValueError(number)
            fields[number] = self.value(kind)
        return fields

    def fields(self) -> Iterator[tuple[int, int]]:
        """Yield number and type of each field of a struct; the caller reads its value."""
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._zigzag()
            yield number, head & 0x0F

    def items(self) -> Iterator[int]:
        """Yield the type of each item of a list; the caller reads its value."""
        head = self._byte()
        for _ in range(self._varint() if head >> 4 == 15 else head >> 4):
            yield head & 0x0F

    def value(self, kind: int) -> Any:
        """Return a value of a type; bytes are passed over, and a flag in a struct is in its type."""
        if kind in (TRUE, FALSE):
            return kind == TRUE
        if kind in (I16, I32, I64):
            return self._zigzag()
        if kind in (BYTE, DOUBLE, BINARY):
            length = {BYTE: 1, DOUBLE: 8}.get(kind) or self._varint()
            self.at += length
            if self.at > len(self._data):  # or a list of bytes could be of any length
                raise LookupError(self.at)
            return None
        if kind in (LIST, SET):
            return [self._byte() if item in (TRUE, FALSE) else self.value(item) for item in self.items()]
        if kind == STRUCT:
            return self.struct()
        raise ValueError(kind)

    def _byte(self) -> int:
        byte = self._data[self.at]
        self.at += 1
        return byte

    def _varint(self) -> int:
        value = shift = 0
        while (byte := self._byte()) & 0x80:
            value |= (byte & 0x7F) << shift
            shift += 7
        return value | byte << shift

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
