"""Where one chunk of a trace ends and the next begins."""

from __future__ import annotations

from simulator.errors import InputError
from simulator.trace.core import Trace


class Seam:
    """Checks that chunks, each valid by itself, are a valid trace together: ``check`` each in order."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._last: tuple[int, int, int] | None = None

    def check(self, chunk: Trace) -> None:
        """Compare the first token with the last chunk's last. Errors: InputError naming the place."""
        first, last = ((int(chunk.sequence[i]), int(chunk.phase[i]), int(chunk.position[i])) for i in (0, -1))
        if self._last is not None:
            (sequence, phase, position), before = first, self._last
            if sequence < before[0] or (
                sequence == before[0] and (phase < before[1] or position <= before[2])
            ):
                place = f"sequence {sequence} position {position}"
                hint = "sequences and positions in ascending order, prefill before decode"
                raise InputError(self._where, f"{place} does not follow the last chunk", hint)
        self._last = last
