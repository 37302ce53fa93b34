"""Reading ``summary.csv``: a tidy table with one row per run, or a line that says why it is none."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.errors import InputError
from simulator.text import printable

if TYPE_CHECKING:
    import pandas as pd

IDENTITY = ("system", "model", "hardware", "software", "trace")
CACHES = ("gpu_expert_cache_bytes", "cpu_expert_cache_bytes")
TEXT = (
    "experiment", "perplexity_source", "belady_kind", "trace_synthetic", "hardware_measured",
    "software_measured", "knows_future", "learnt_from", "assumed", "warnings",
)  # fmt: skip
FIRST_METRIC = "tokens_per_second"
LOSSES = ("gate_mass_low", "gate_mass_substituted", "gate_mass_skipped")
"""Shares of gate mass that are lost: not computed, or not at main precision. What is deferred is not lost."""
HINT = "give the results folder of a `moesim run`"


def read_summary(run_dir: Path) -> pd.DataFrame:
    """Return the summary of a run folder; metrics and sizes as float (NaN where empty), all else as text.

    Errors: InputError where it is missing, empty, no table, or not of moesim.
    """
    import pandas as pd

    path = run_dir / "summary.csv"
    where = str(path)
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except FileNotFoundError:
        raise InputError(str(run_dir), "holds no summary.csv", HINT) from None
    except OSError as error:
        raise InputError(where, f"cannot be read: {error.strerror}", HINT) from None
    except pd.errors.EmptyDataError:
        raise InputError(where, "is empty", HINT) from None
    except (pd.errors.ParserError, UnicodeDecodeError):
        raise InputError(where, "is no CSV table", HINT) from None
    if "software" not in frame:
        frame["software"] = "ideal"  # the only one there was
    need(frame, IDENTITY, where)
    if frame.empty:
        raise InputError(where, "holds no runs", HINT)
    frame.columns = [printable(name) for name in frame.columns]
    text = {*IDENTITY, *TEXT, *swept(frame)}
    for name in frame.columns:
        if name in text:
            frame[name] = [printable(cell) for cell in frame[name]]
        else:
            frame[name] = _numbers(frame[name])
    return frame


def need(frame: pd.DataFrame, columns: Iterable[str], where: str) -> None:
    """Raise InputError where a column is missing, or holds no numbers though it is a metric."""
    columns = list(columns)
    for name in columns:
        if name not in frame:
            raise InputError(where, f"is no summary of moesim: column '{name}' is missing", HINT)
        if name not in IDENTITY and name in frame.select_dtypes(exclude="number"):
            raise InputError(where, f"column '{name}' holds more than numbers", HINT)
    if "run" in columns:
        if not (frame["run"] % 1 == 0).all():
            raise InputError(where, "column 'run' holds more than whole numbers", HINT)
        if frame["run"].duplicated().any():
            raise InputError(where, "two runs have the same number", HINT)


def knows_future(frame: pd.DataFrame) -> pd.Series[bool]:
    """Return for each run whether it knows the future: nothing ranks such runs."""
    import pandas as pd

    said = frame.get("knows_future", pd.Series("", frame.index))
    return said.astype(str).str.lower().eq("true")


def swept(frame: pd.DataFrame) -> list[str]:
    """Return the columns of swept keys: with a dot, or between the cache sizes and the metrics."""
    names = list(frame.columns)
    known = {"run", "experiment", "seed", *IDENTITY, *CACHES}
    last = names.index(FIRST_METRIC) if FIRST_METRIC in names else 0
    first = max((names.index(name) for name in known if name in names[:last]), default=last)
    between = set(names[first:last]) if any(name in names for name in CACHES) else set()
    return [name for name in names if name not in known and ("." in name or name in between)]


def _numbers(column: pd.Series[str]) -> pd.Series[float] | pd.Series[str]:
    """Return a column as floats; as it is where a cell is no number."""
    import pandas as pd

    found = pd.to_numeric(column.where(column != ""), errors="coerce").astype(float)
    return found if (found.notna() == (column != "")).all() else column
