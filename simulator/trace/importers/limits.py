"""How much an import may read and hold, so that no file can exhaust the machine."""

from __future__ import annotations

from pathlib import Path

from simulator.errors import InputError

# Decoded, an import: a million tokens of Qwen3-30B-A3B take 2.3 GB with weights, and what is larger
# than this would not fit the memory of a simulation either.
MOST_BYTES = 4 * 2**30
# A line of text, or all the lines above a table: a token of 94 layers, k 8, with weights is 20 kB of JSON.
MOST_LINE = 256 * 2**10
# What a byte of a file becomes at most: "[]," is 3 bytes of JSON and a list of 56, with its place of 8, in
# memory, and "12," a word of 51; a table's "0," is read at once into a number of 8.
TEXT_EXPANSION, CSV_EXPANSION = 21, 4


def check_size(where: str, n_bytes: int) -> None:
    """Refuse what is larger than an import may be, before it is read. Errors: InputError."""
    if n_bytes > MOST_BYTES:
        hint = f"at most {MOST_BYTES:,} an import: cut it into parts"
        raise InputError(where, f"{n_bytes:,} bytes when decoded", hint)


def check_file(path: Path, expansion: int = 1) -> int:
    """Return what a plain file takes in memory. Errors: InputError (too large, a folder, a device)."""
    if path.is_dir():
        raise InputError(str(path), "is a folder", "give a file")
    if path.exists() and not path.is_file():
        raise InputError(str(path), "is no plain file", "a pipe or a device has no size to check")
    n_bytes = path.stat().st_size * expansion
    check_size(str(path), n_bytes)
    return n_bytes


def brief(value: object) -> str:
    """Return a value of the file for a message, cut where it is long."""
    text = repr(value) if not isinstance(value, str) else value
    return text if len(text) <= 120 else text[:117] + "..."
