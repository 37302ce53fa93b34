"""Reading the Parquet tables of a run folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.analysis.summary import HINT
from simulator.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


MOST_BYTES = 4 * 2**30


def read_table(run_dir: Path, name: str) -> pd.DataFrame:
    """Return ``NAME.parquet`` of a run folder: ``tokens`` (a row per pass and sequence) or ``experts``.

    Errors: InputError where it is missing, or no table of moesim.
    """
    import pyarrow as pa
    from pyarrow import parquet

    path = run_dir / f"{name}.parquet"
    try:
        with parquet.ParquetFile(path) as file:
            _check_size(file.metadata, str(path))
            frame: pd.DataFrame = file.read().to_pandas()
    except FileNotFoundError:
        raise InputError(str(run_dir), f"holds no {path.name}", HINT) from None
    except (OSError, pa.ArrowException) as error:
        raise InputError(str(path), f"cannot be read: {str(error).split(chr(10))[0]}", HINT) from None
    if "run" not in frame:
        raise InputError(str(path), "is no table of moesim: column 'run' is missing", HINT)
    for column in frame:
        if column == "phase":
            continue
        if frame[column].dtype.kind not in "if" or (frame[column] < 0).any():
            raise InputError(str(path), f"column '{column}' holds more than numbers from 0 on", HINT)
    if name == "experts" and len(frame) and max(frame["layer"].max(), frame["expert"].max()) >= len(frame):
        raise InputError(str(path), "numbers more layers or experts than it has rows", HINT)
    return frame


def _check_size(metadata: Any, where: str) -> None:
    """Refuse a table that would not fit the memory, by what its file says of itself."""
    n_bytes = 8 * metadata.num_rows * metadata.num_columns
    if n_bytes > MOST_BYTES:
        what = f"has {metadata.num_rows:,} rows, {n_bytes / 2**30:.1f} GiB of numbers"
        raise InputError(where, what, f"at most {MOST_BYTES / 2**30:.0f} GiB are read")


def need_integers(table: pd.DataFrame, columns: Iterable[str], where: str) -> None:
    """Raise InputError where ``phase`` or a column is missing, or a column holds more than integers."""
    for name in (*columns, "phase"):
        if name not in table:
            raise InputError(where, f"column '{name}' is missing", HINT)
        if name != "phase" and table[name].dtype.kind != "i":
            raise InputError(where, f"column '{name}' holds more than integers", HINT)
