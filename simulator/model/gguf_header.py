"""The header of GGUF files: metadata, and shape and type of every tensor. Weights are never read.

The format is llama.cpp's (ggml/docs/gguf.md): little-endian, a magic, a version, counts, key-value pairs,
then a description of each tensor. The packages that read it map the whole file; a header alone is enough
here, so that a download may have stopped behind it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from simulator.errors import InputError
from simulator.files import check_source
from simulator.model.precision import BITS, BLOCK

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MOST_STRING, MOST_ENTRIES, MOST_ITEMS = 2**24, 2**20, 2**24
SCALARS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
STRING, ARRAY = 8, 9
_NAMES = (
    "fp32 fp16 Q4_0 Q4_1 . . Q5_0 Q5_1 Q8_0 . Q2_K Q3_K Q4_K Q5_K Q6_K . IQ2_XXS IQ2_XS IQ3_XXS IQ1_S IQ4_NL "
    "IQ3_S IQ2_S IQ4_XS int8 . . . . IQ1_M bf16 . . . TQ1_0 TQ2_0 . . . MXFP4 NVFP4"
)
TYPES = dict(enumerate(_NAMES.split()))
"""ggml's numbers of types, in the words of ``precision``."""
PART = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf")


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor: its dimensions, fastest first, and its type; ``n_bytes`` is what it takes in the file."""

    name: str
    shape: tuple[int, ...]
    kind: str

    @property
    def n_weights(self) -> int:
        """Return the product of its dimensions."""
        return prod(self.shape)

    @property
    def n_bytes(self) -> int:
        """Return its bytes: whole blocks."""
        bits = BITS[self.kind] * self.n_weights
        return -(-bits.numerator // (8 * bits.denominator))


@dataclass(slots=True)
class Header:
    """Metadata and tensors of a model, of all its parts where it is split."""

    facts: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)


def read_header(path: Path) -> Header:
    """Return the header of a GGUF file, and of its other parts. Errors: InputError (no GGUF)."""
    found = Header()
    for part in _parts(path):
        check_source(part)
        with part.open("rb") as file:
            try:
                _read(_Reader(file), found, str(part))
            except (struct.error, UnicodeDecodeError, OverflowError, MemoryError) as error:
                raise InputError(
                    str(part), f"its header is damaged or cut off ({error})", "a GGUF file"
                ) from None
    return found


def _parts(path: Path) -> list[Path]:
    match = PART.fullmatch(path.name)
    if match is None:
        return [path]
    n = int(match[3])
    parts = [path.with_name(f"{match[1]}-{number:05}-of-{match[3]}.gguf") for number in range(1, n + 1)]
    lacking = next((part for part in parts if not part.exists()), None)
    if lacking is not None:
        raise InputError(
            str(path), f"{lacking.name} is not beside it", f"a model in {n} parts needs all of their headers"
        )
    return parts


class _Reader:
    """Reads values one after another; what claims to be larger than anything real is refused."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    def scalar(self, form: str) -> Any:
        size = struct.calcsize(form)
        return struct.unpack(form, self.file.read(size))[0]

    def count(self, most: int) -> int:
        n = int(self.scalar("<Q"))
        if n > most:
            raise OverflowError(f"{n} entries")
        return n

    def text(self) -> str:
        n = self.count(MOST_STRING)
        data = self.file.read(n)
        if len(data) < n:
            raise struct.error("the end of the file")
        return data.decode("utf-8")

    def value(self, kind: int) -> Any:
        if kind == STRING:
            return self.text()
        if kind == ARRAY:
            of, n = self.scalar("<I"), self.count(MOST_ITEMS)
            if of in SCALARS:
                size = struct.calcsize(SCALARS[of])
                return list(struct.unpack(f"<{n}{SCALARS[of][1]}", self.file.read(n * size)))
            return [self.value(of) for _ in range(n)]
        if kind not in SCALARS:
            raise OverflowError(f"a value of type {kind}")
        return self.scalar(SCALARS[kind])


def _read(reader: _Reader, found: Header, where: str) -> None:
    if reader.file.read(4) != MAGIC:
        raise InputError(where, "no GGUF file", "its first four letters are GGUF")
    version = reader.scalar("<I")
    if version not in VERSIONS:
        raise InputError(
            where, f"GGUF of version {version}", f"versions {', '.join(map(str, VERSIONS))} are read"
        )
    n_tensors, n_facts = reader.count(MOST_ENTRIES), reader.count(MOST_ENTRIES)
    for _ in range(n_facts):
        key = reader.text()
        value = reader.value(reader.scalar("<I"))
        found.facts.setdefault(key, value)
    for tensor in _tensors(reader, n_tensors, where):
        found.tensors[tensor.name] = tensor


def _tensors(reader: _Reader, n: int, where: str) -> Iterator[Tensor]:
    for _ in range(n):
        name = reader.text()
        shape = tuple(int(reader.scalar("<Q")) for _ in range(min(reader.scalar("<I"), 8)))
        number = reader.scalar("<I")
        reader.scalar("<Q")  # where its data lie
        kind = TYPES.get(number, ".")
        if kind not in BITS:
            raise InputError(
                where, f"tensor {name[:60]} is of type {number}", "a type that moesim list precisions has"
            )
        if shape and shape[0] % BLOCK.get(kind, 1):
            raise InputError(
                where, f"tensor {name[:60]} has rows of {shape[0]}", f"a multiple of {BLOCK[kind]} for {kind}"
            )
        yield Tensor(name, shape, kind)
