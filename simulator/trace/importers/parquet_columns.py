"""Columns of a foreign Parquet file, counted while they are read.

The footer says how many rows there are, not how long their lists; its sizes of single columns are not asked
for, since on some damaged footers pyarrow 26 ends the process there (``RowGroupMetaData.column``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.errors import InputError, did_you_mean
from simulator.trace.importers.limits import brief, check_file, check_size
from simulator.trace.importers.text import head

VALUE_BYTES = 8  # of a value, the least that a row of a column takes in lists
BATCH_ROWS = 16_384  # what is decoded before it is counted
MOST_STRING, MOST_COLUMNS = 2**20, 100_000  # of a footer, whose strings and lists claim their own sizes


def names_of(path: Path) -> list[str]:
    """Return the names of a Parquet file's columns, none if it is not one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not head(path).startswith(b"PAR1"):
        return []
    try:
        return list(pq.read_schema(path).names)
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        return []


def read_columns(
    path: Path, types: Mapping[str, Sequence[str]], optional: Sequence[str] = ()
) -> dict[str, Any]:
    """Return Arrow columns by name, each a single array.

    ``types`` maps names to the types that a value, or an element of a list, may have. Errors:
    InputError (no Parquet, a column that is missing or of another type, too large, empty cells).
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    where = str(path)
    check_file(path)
    try:
        with pq.ParquetFile(
            path,
            pre_buffer=False,
            buffer_size=2**16,
            thrift_string_size_limit=MOST_STRING,
            thrift_container_size_limit=MOST_COLUMNS,
            page_checksum_verification=True,
        ) as file:
            schema = file.schema_arrow
            wanted = [name for name in types if name in schema.names or name not in optional]
            for name in wanted:
                _check_type(where, schema, name, types[name])
            check_size(where, file.metadata.num_rows * len(wanted) * VALUE_BYTES)
            batches = _counted(file.iter_batches(BATCH_ROWS, columns=wanted), where)
            table = pa.Table.from_batches(batches, pa.schema([schema.field(name) for name in wanted]))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = brief(str(error).strip().split("\n")[0].rstrip("."))
        raise InputError(where, f"not a whole Parquet file ({reason})", "it may be truncated") from error
    columns = {name: table.column(name).combine_chunks() for name in wanted}
    for name, column in columns.items():
        if column.null_count:
            raise InputError(
                where, f"column '{name}' has {column.null_count} empty cells", "a value in each row"
            )
    return columns


def lists(column: Any, where: str) -> npt.NDArray[Any]:
    """Return a column of lists as an array [N, k]. Errors: InputError (lengths that differ, empty cells)."""
    lengths = np.unique(column.value_lengths().to_numpy(zero_copy_only=False))
    flat = column.flatten()
    if len(lengths) > 1 or flat.null_count:
        raise InputError(where, "lists of different lengths, or with empty cells", "k values in each row")
    k = int(lengths[0]) if len(lengths) else 0
    values: npt.NDArray[Any] = flat.to_numpy(zero_copy_only=False)
    return values.reshape(len(column), k)


def _check_type(where: str, schema: Any, name: str, kinds: Sequence[str]) -> None:
    """Check that a column is there once, and that its values, or its lists', have a type of ``kinds``."""
    if schema.names.count(name) != 1:
        raise InputError(where, f"no column '{name}', or twice", did_you_mean(name, map(brief, schema.names)))
    found = schema.field(name).type
    in_lists = kinds[0].startswith("list ")
    value = f"list {found.value_type}" if in_lists and hasattr(found, "value_type") else str(found)
    if value not in kinds:
        raise InputError(where, f"column '{name}' is {brief(str(found))}", " or ".join(kinds))


def _counted(batches: Iterable[Any], where: str) -> Iterator[Any]:
    """Yield batches until they are too large together."""
    n_bytes = 0
    for batch in batches:
        n_bytes += batch.nbytes
        check_size(where, n_bytes)
        yield batch
