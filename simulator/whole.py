"""The one rule for a file that must not be half written: it is written beside its place, and renamed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LONGEST = 100
"""Characters of a file's name that are kept in that of the file beside it."""


@contextmanager
def whole(out: Path) -> Iterator[Path]:
    """Give an empty file that takes the place of ``out`` when the block ends well, else is removed.

    It reaches the disk before it is renamed. What a killed process leaves ends in ``.partial``.
    Errors: OSError.
    """
    handle, name = tempfile.mkstemp(".partial", f".{out.name[:LONGEST]}.", out.parent)
    os.close(handle)
    aside = Path(name)
    try:
        yield aside
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        aside.chmod(0o644)
        aside.replace(out)
    finally:
        aside.unlink(missing_ok=True)
