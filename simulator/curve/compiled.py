"""Compiling, where numba is installed; else the same functions, interpreted."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
COMPILES = find_spec("numba") is not None
NOTE = "numba is not installed: this takes some fifty times longer (pip install 'moesim[fast]')"


def compiled(function: F) -> F:
    """Return a function compiled when it is first called, and kept on disk where that can be written."""
    if not COMPILES:
        return function
    njit: Any = import_module("numba").njit
    try:
        made: F = njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no folder for the cache can be written
        warnings.warn("nothing can be kept on disk: kernels are compiled anew each time", stacklevel=2)
        made = njit(nogil=True)(function)
    return made
