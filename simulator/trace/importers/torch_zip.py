"""The zip file that torch.save writes: a pickle, and the bytes of each tensor's storage, never compressed.

Entries ROOT/data.pkl, ROOT/data/KEY, and ROOT/byteorder since torch 2.1. Source: the notes on serialization
semantics in PyTorch's documentation, and caffe2/serialize/inline_container.h.
"""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from simulator.errors import InputError
from simulator.trace.importers.limits import brief, check_file, check_size
from simulator.trace.importers.npy import FAULTS, ZIP_MAGIC
from simulator.trace.importers.text import head

# The three records that end the file, without a comment: where the directory is in 64 bits, where that
# record is, and the same in 32 bits.
END64, LOCATOR, END = b"PK\x06\x06", b"PK\x06\x07", b"PK\x05\x06"
END64_BYTES, LOCATOR_BYTES, END_BYTES = 56, 20, 22
# What a byte becomes in memory: "}" is 1 byte of a pickle and a dict of 64 with its place of 8; an entry of
# the directory is 46 bytes and its name, and an object of 700.
PICKLE_EXPANSION, ENTRY_EXPANSION = 72, 16
ENCRYPTED = 1


class TorchZip:
    """An open file of torch.save. Errors: InputError (another format, compressed, too large)."""

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        self.n_bytes = n_bytes = check_file(path)
        if not head(path).startswith(ZIP_MAGIC):
            raise InputError(self.where, "not a zip file", "a .pt that torch.save wrote since version 1.6")
        try:
            check_size(self.where, _directory_bytes(path, n_bytes) * ENTRY_EXPANSION)
            self.file = zipfile.ZipFile(path)
        except FAULTS as error:
            raise self.damaged(error) from error
        entries = self.file.infolist()
        self.entries = {entry.filename: entry for entry in entries}
        self.root = entries[0].filename.partition("/")[0] if entries else ""
        total = sum(entry.file_size for entry in entries)
        packed = any(
            entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & ENCRYPTED for entry in entries
        )
        if packed or len(self.entries) < len(entries) or total > n_bytes:
            self.file.close()
            raise InputError(
                self.where, "entries compressed, encrypted, or there twice", "torch.save stores each once"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()

    def pickle(self) -> bytes:
        """Return data.pkl. Errors: InputError (missing, too large, tensors of a big-endian machine)."""
        name = f"{self.root}/byteorder"
        if name in self.entries and self._read(name) != b"little":
            raise InputError(self.where, "not saved on a little-endian machine", "save it on one")
        name = f"{self.root}/data.pkl"
        if name in self.entries:
            check_size(self.where, self.n_bytes + self.entries[name].file_size * PICKLE_EXPANSION)
        return self._read(name)

    def storage(self, key: str, dtype: np.dtype[Any], n_items: int) -> npt.NDArray[Any]:
        """Return a storage's items [n]. Errors: InputError (missing, or not as long as the pickle says)."""
        name = f"{self.root}/data/{key}"
        data = self._read(name)
        if n_items < 0 or len(data) != n_items * dtype.itemsize:
            what = f"'{brief(name)}' has {len(data)} bytes"
            raise InputError(self.where, what, f"the pickle says {brief(n_items)} of {dtype}")
        return np.frombuffer(data, dtype=dtype)

    def damaged(self, error: Exception) -> InputError:
        """Return what to raise where the file is damaged or made up."""
        return InputError(
            self.where, f"not a .pt of plain tensors ({brief(str(error))})", "it may be truncated"
        )

    def _read(self, name: str) -> bytes:
        """Return an entry's bytes."""
        if name not in self.entries:
            raise InputError(self.where, f"no entry '{brief(name)}'", "a .pt that torch.save wrote")
        try:
            return self.file.read(name)
        except FAULTS as error:
            raise self.damaged(error) from error


def _directory_bytes(path: Path, n_bytes: int) -> int:
    """Return the length of the zip's directory, as its last records say."""
    with path.open("rb") as file:
        file.seek(max(n_bytes - END_BYTES - LOCATOR_BYTES - END64_BYTES, 0))
        tail = file.read()
    end, locator = tail[-END_BYTES:], tail[-END_BYTES - LOCATOR_BYTES : -END_BYTES]
    if len(end) < END_BYTES or not end.startswith(END):
        raise zipfile.BadZipFile("no directory at its end")
    length: int = struct.unpack_from("<I", end, 12)[0]
    if locator.startswith(LOCATOR) and tail.startswith(END64):
        length = struct.unpack_from("<Q", tail, 40)[0]
    return length
