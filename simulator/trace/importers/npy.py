"""Arrays in .npy and .npz files: sizes are compared before anything is inflated, nothing is unpickled."""

from __future__ import annotations

import math
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from simulator.errors import InputError
from simulator.trace.importers.limits import MOST_LINE, brief, check_file, check_size
from simulator.trace.importers.text import head

Array = npt.NDArray[Any]
MAGIC, ZIP_MAGIC = b"\x93NUMPY", b"PK\x03\x04"
HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
END, END_BYTES, LONGEST_COMMENT = b"PK\x05\x06", 22, 65_535  # the record that ends a zip file
# What numpy and zipfile raise on files that are damaged or made up.
FAULTS = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def load_npz(path: Path) -> dict[str, Array]:
    """Return the arrays of an npz. Errors: InputError (not an npz, too large, pickled objects)."""
    where = str(path)
    check_file(path)
    try:
        _check_directory(path)
        with zipfile.ZipFile(path) as file:
            entries = file.infolist()
            names = [entry.filename.removesuffix(".npy") for entry in entries]
            if len(set(names)) < len(names):
                raise InputError(where, "an array twice", "each name once")
            check_size(where, sum(entry.file_size for entry in entries))
            arrays = {}
            for name, entry in zip(names, entries, strict=True):
                with file.open(entry) as data:
                    arrays[name] = _read(data, entry.file_size, f"{where} '{brief(name)}'")
            return arrays
    except FAULTS as error:
        what = f"not an npz of plain arrays ({brief(str(error))})"
        raise InputError(where, what, "it may be truncated") from error


def load_npy(path: Path) -> Array:
    """Return the array of an npy. Errors: InputError (not an npy, too large, pickled objects)."""
    n_bytes = check_file(path)
    try:
        with path.open("rb") as file:
            return _read(file, n_bytes, str(path))
    except FAULTS as error:
        what = f"not an npy of a plain array ({brief(str(error))})"
        raise InputError(str(path), what, "it may be truncated") from error


def npz_names(path: Path) -> set[str]:
    """Return the names of the arrays in an npz, none if it is not one."""
    try:
        _check_directory(path)
        with zipfile.ZipFile(path) as file:
            return {name.removesuffix(".npy") for name in file.namelist()}
    except FAULTS:
        return set()


def _read(file: IO[bytes], n_bytes: int, where: str) -> Array:
    """Return the array that ``n_bytes`` of a file hold, having compared them with its header."""
    shape, by_columns, dtype = HEADERS[np.lib.format.read_magic(file)](file)
    size = math.prod(shape) * dtype.itemsize
    if dtype.hasobject or not dtype.itemsize:
        raise ValueError(f"{where} holds {dtype}, which is never read")
    if min(shape, default=0) < 0 or size != n_bytes - file.tell():
        what = f"its header says {dtype} of shape {brief(shape)}, {brief(str(size))} bytes"
        raise InputError(where, what, f"the file holds {n_bytes - file.tell()}")
    values = np.frombuffer(file.read(size), dtype=dtype.newbyteorder("="))
    if not dtype.isnative:
        values = values.byteswap()
    return values.reshape(shape, order="F" if by_columns else "C")


def _check_directory(path: Path) -> None:
    """Refuse a zip whose list of entries is long: reading it takes memory that its sizes do not show."""
    if not head(path).startswith(ZIP_MAGIC):
        raise zipfile.BadZipFile("not a zip file")
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - LONGEST_COMMENT - END_BYTES, 0))
        tail = file.read()
    at = tail.rfind(END)
    if at < 0 or len(tail) < at + END_BYTES:
        raise zipfile.BadZipFile("not a zip file")
    n_bytes = struct.unpack_from("<I", tail, at + 12)[0]
    if n_bytes > MOST_LINE:
        raise zipfile.BadZipFile(f"a list of entries of {n_bytes} bytes")
