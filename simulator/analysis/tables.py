"""Reading the Parquet tables of a run folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.analysis.summary import HINT
from simulator.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


def read_table(run_dir: Path, name: str) -> pd.DataFrame:
    """Return ``NAME.parquet`` of a run folder: ``tokens`` (a row per pass and sequence) or ``experts``.

    Errors: InputError where it is missing, or no table of moesim.
    """
    import pyarrow as pa
    from pyarrow import parquet

    path = run_dir / f"{name}.parquet"
    try:
        frame: pd.DataFrame = parquet.read_table(path).to_pandas()
    except FileNotFoundError:
        raise InputError(str(run_dir), f"holds no {path.name}", HINT) from None
    except (OSError, pa.ArrowException) as error:
        raise InputError(str(path), f"cannot be read: {str(error).split(chr(10))[0]}", HINT) from None
    if "run" not in frame:
        raise InputError(str(path), "is no table of moesim: column 'run' is missing", HINT)
    return frame


def need_integers(table: pd.DataFrame, columns: Iterable[str], where: str) -> None:
    """Raise InputError where ``phase`` or a column is missing, or a column holds more than integers."""
    for name in (*columns, "phase"):
        if name not in table:
            raise InputError(where, f"column '{name}' is missing", HINT)
        if name != "phase" and table[name].dtype.kind != "i":
            raise InputError(where, f"column '{name}' holds more than integers", HINT)
