"""Figures as bytes that depend on the data alone, written whole or not at all."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What matplotlib would write of the time and of itself, by format.
FORMATS: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "Creator": "moesim", "Producer": None},
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": "moesim"},
}


def render(figure: Figure, form: str) -> bytes:
    """Return a figure in one of FORMATS; the same bytes for the same data and matplotlib."""
    buffer = BytesIO()
    with warnings.catch_warnings():  # letters that no font has were told of (letters.py)
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        figure.savefig(buffer, format=form, metadata=FORMATS[form])
    return buffer.getvalue()


def write(folder: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Write files into a folder, which is made if need be; each takes its place by renaming.

    Errors: InputError where the folder or a file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [_replace(folder / name, content) for name, content in files.items()]
    except OSError as error:
        raise InputError(str(folder), f"cannot be written: {error.strerror}") from None


def _replace(path: Path, content: bytes) -> Path:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
