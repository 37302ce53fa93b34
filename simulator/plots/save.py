"""Figures as bytes that depend on the data alone, written whole or not at all."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.files import unwritable
from simulator.whole import whole

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
        for name, content in files.items():
            with whole(folder / name) as path:
                path.write_bytes(content)
        return [folder / name for name in files]
    except OSError as error:
        raise unwritable(folder, error, "") from None
