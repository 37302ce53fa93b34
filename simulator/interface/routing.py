"""Traces from Python: reading one, and what its routing is like."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.trace.core import Trace
from simulator.trace.find import find_trace

if TYPE_CHECKING:
    import pandas as pd


def read_trace(name: str | Path) -> Trace:
    """Return a trace: bundled, fetched, or a path. Errors: InputError (there is none, or it is no trace)."""
    from simulator.trace.parquet import read_trace as read

    return read(find_trace(str(name)))


def locality(trace: str | Path | Trace, phase: str = "all") -> pd.DataFrame:
    """Return the statistics of ``moesim trace locality``, a row each: reuse, popularity, foresight, SRP, SCH.

    ``phase`` is ``all``, ``prefill`` or ``decode``. A row without a layer is over all layers; ``low`` and
    ``high`` bound 95 %. Errors: InputError (no such tokens).
    """
    import pandas as pd

    from simulator.trace.locality.analyse import analyse

    found = analyse(trace if isinstance(trace, Trace) else read_trace(trace), phase)
    return pd.DataFrame([asdict(row) for row in found.rows])
