"""The one rule for files that are read, and the one for files that are written.

What cannot be read is called what it is: absent, a folder, empty, not ours to read. What is there is replaced
only where --force says so.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from simulator.errors import InputError


def check_source(path: Path, hint: str = "") -> None:
    """Refuse a file that cannot be read, or has nothing in it; ``hint`` is for one that is absent.

    Errors: InputError.
    """
    where = str(path)
    try:
        if path.is_dir():
            raise InputError(where, "is a folder", "name a file")
        if path.exists() and not path.is_file():
            raise InputError(where, "is no file", "name a file that can be read twice")
        with path.open("rb") as file:
            if not file.read(1):
                raise InputError(where, "is empty")
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(where, "no such file", hint) from None
    except PermissionError:
        raise InputError(where, "may not be read: permission denied", "change who may read it") from None
    except (OSError, ValueError) as error:
        raise InputError(where, f"cannot be read: {_reason(error)}") from None


def check_target(out: Path, sources: Iterable[Path] = (), *, force: bool) -> None:
    """Refuse to write over anything without ``force``, and ever over a source or what is no file.

    Said before anything is read or worked out. Errors: InputError.
    """
    try:
        there, is_file, is_dir = os.path.lexists(out), out.is_file() or out.is_symlink(), out.is_dir()
        read = any(source.exists() and there and out.samefile(source) for source in sources)
    except (OSError, ValueError) as error:
        raise unwritable(out, error, "name another file with --out") from None
    if read:
        raise InputError(str(out), "is what is read", "name another file: a source is never written over")
    if is_dir:
        raise InputError(str(out), "is a folder", "name a file with --out")
    if there and not is_file:
        raise InputError(str(out), "is no file", "name a file with --out")
    if there and not force:
        raise InputError(str(out), "is there already", "name another file, or replace it with --force")


def unwritable(out: Path, error: Exception, hint: str) -> InputError:
    """Return what to say where something cannot be written."""
    return InputError(str(out), f"cannot be written: {_reason(error)}", hint)


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
