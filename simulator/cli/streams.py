"""The standard streams as every command wants them: there, and able to take any letter."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper

MODES = {"stdin": "r", "stdout": "w", "stderr": "w"}


def mend_streams() -> None:
    """Open closed streams on the null device; a letter that a stream's encoding lacks becomes ``?``.

    Their numbers are taken too, or the next file that is opened would be the one that a child writes its
    errors into.
    """
    for number, (name, mode) in enumerate(MODES.items()):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest free number: this
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
        elif isinstance(stream, TextIOWrapper) and mode == "w":
            stream.reconfigure(errors="replace")
