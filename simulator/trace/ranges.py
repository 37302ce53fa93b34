"""Ranges of numbers as the command line writes them: ``0:8,12,20:``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.errors import InputError

PATTERN = re.compile(r"\s*(\d{0,10})(:?)(\d{0,10})\s*")


@dataclass(frozen=True, slots=True)
class Ranges:
    """Numbers from ``start`` up to, and without, ``stop``, for each pair of ``parts``; ``text`` says them."""

    text: str
    parts: tuple[tuple[float, float], ...]

    def mask(self, values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Return which values [N] are in one of the ranges."""
        chosen = np.zeros(len(values), dtype=np.bool_)
        for start, stop in self.parts:
            chosen |= (values >= start) & (values < stop)
        return chosen


def parse_ranges(option: str, text: str) -> Ranges:
    """Return the ranges of ``0:8,12,20:``. Errors: InputError naming the option (anything else)."""
    parts: list[tuple[float, float]] = []
    for part in text.split(","):
        match = PATTERN.fullmatch(part)
        if not match or match[0].strip() in ("", ":"):
            raise InputError(option, f"'{part[:40]}'", "allowed: numbers and start:end, such as 0:8,12,20:")
        start = int(match[1] or 0)
        stop = (int(match[3]) if match[3] else np.inf) if match[2] else start + 1
        if stop <= start:
            raise InputError(option, f"'{part}' is empty", "start:end, and the end is not in it")
        parts.append((start, stop))
    return Ranges(text, tuple(parts))
