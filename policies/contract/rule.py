"""A broken promise, and what the rules share to find one."""

from __future__ import annotations

import reprlib
import traceback
from collections.abc import Callable
from operator import index
from pathlib import Path

import numpy as np

from policies.base import Policy
from simulator.errors import said

Make = Callable[[], Policy]
"""Makes a new policy, not bound to a run yet."""
Rule = Callable[[Make], None]
"""Checks one promise; the first line of its docstring says it. Errors: BrokenRuleError."""


class BrokenRuleError(AssertionError):
    """A promise was not kept: what was expected, and what came."""

    def __init__(self, expected: str, came: str) -> None:
        self.expected, self.came = expected, came
        super().__init__(f"expected {expected}; came {came}")


def shown(value: object) -> str:
    """Return a value as Python writes it, cut where it is long."""
    return reprlib.repr(value)


def is_whole(value: object) -> bool:
    """Return whether a value is a whole number of Python or NumPy; a bool is none."""
    if isinstance(value, bool):
        return False
    try:
        index(value)  # type: ignore[arg-type]  # that is what is tried
    except TypeError:
        return False
    return True


def is_yes_or_no(value: object) -> bool:
    """Return whether a value is a bool of Python or NumPy."""
    return isinstance(value, bool | np.bool)


def raised(error: BaseException) -> str:
    """Return what was raised, and where, in one line."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    words = " ".join(said(error).split())
    what = f"{type(error).__name__}: {words}" if words else type(error).__name__
    return f"{what} (line {frame.lineno} of {Path(frame.filename).name})"
