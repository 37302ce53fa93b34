"""The one rule for a file that must not be half written: it is written beside its place, and renamed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LONGEST = 100
"""Characters of a file's name that are kept in that of the file beside it."""


@contextmanager
def whole(out: Path) -> Iterator[Path]:
    """Give an empty file that takes the place of ``out`` when the block ends well, else is removed.

    It reaches the disk before it is renamed, and who may read it is for the user's umask to say. What a
    killed process leaves ends in ``.partial``. Errors: OSError.
    """
    aside = out.with_name(f".{out.name[:LONGEST]}.{secrets.token_hex(4)}.partial")
    aside.touch(exist_ok=False)
    try:
        yield aside
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        aside.replace(out)
    finally:
        aside.unlink(missing_ok=True)
