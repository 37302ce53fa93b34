"""The Parquet tables of a run: a row for each token, a row for each expert."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from simulator.results.collect import Collector

TABLES = ("tokens", "experts")
"""The Parquet tables of a run folder, beside its summary."""


def token_table(collector: Collector) -> Any:
    """Return a run's rows as a ``pyarrow.Table``: one row a (pass, sequence)."""
    import pyarrow as pa

    rows = dict(collector.rows)
    decoded = rows.pop("decoded")
    columns = {name: pa.array(values, pa.int64()) for name, values in rows.items()}
    table = pa.table(columns)
    phase = pa.array(["decode" if one else "prefill" for one in decoded], pa.string())
    return table.add_column(3, "phase", phase)


def expert_table(lookups: Any, resident: Mapping[int, int], n_versions: int, steps: int) -> Any:
    """Return a ``pyarrow.Table`` with a row for each expert: how often demanded, how long in the top cache.

    ``lookups`` [layer, expert] counts demands; ``resident`` has the layer steps, of ``steps``, that each
    version key was counted into tier 0.
    """
    import numpy as np
    import pyarrow as pa

    by_version = np.zeros((lookups.size, n_versions), dtype=np.int64)
    for key, n in resident.items():
        by_version[divmod(key, n_versions)] = n
    layer, expert = (index.ravel() for index in np.indices(lookups.shape))
    return pa.table(
        {
            "layer": pa.array(layer, pa.int32()),
            "expert": pa.array(expert, pa.int32()),
            "lookups": pa.array(lookups.ravel(), pa.int64()),
            "resident_steps": pa.array(by_version[:, 0], pa.int64()),
            "resident_low_steps": pa.array(by_version[:, 1:].sum(axis=1), pa.int64()),
            "steps": pa.array([steps] * lookups.size, pa.int64()),
        }
    )


def join_tables(path: Path, files: Sequence[tuple[int, Path]]) -> None:
    """Join one table of all runs under their numbers; a column that a run lacks is empty there."""
    import pyarrow as pa
    from pyarrow import parquet

    fields = [pa.field("run", pa.int32())]
    for _, file in files:
        fields += [field for field in parquet.read_schema(file) if field.name not in {f.name for f in fields}]
    schema = pa.schema(fields)
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for number, file in files:
            table = parquet.read_table(file)
            n = table.num_rows
            columns = {name: table.column(name) for name in table.column_names}
            columns["run"] = pa.array([number] * n, pa.int32())
            missing = {field.name: pa.nulls(n, field.type) for field in schema if field.name not in columns}
            writer.write_table(pa.table(columns | missing, schema=schema))
