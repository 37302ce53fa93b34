"""Columns of a CSV by name, read by Arrow."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from simulator.errors import InputError, did_you_mean
from simulator.trace.importers.arrays import phase_codes
from simulator.trace.importers.limits import CSV_EXPANSION, brief, check_file
from simulator.trace.importers.text import lines


def csv_names(path: Path, skip: int = 0) -> list[str]:
    """Return the names in a CSV's header, below ``skip`` lines. Errors: InputError (none, a name twice)."""
    check_file(path, CSV_EXPANSION)
    for number, line in enumerate(lines(path)):
        if number == skip:
            try:
                names = next(csv.reader([line.removeprefix("\ufeff")]), [])
            except csv.Error as error:
                raise InputError(str(path), f"its header is no CSV ({error})", "names of columns") from error
            name, times = Counter(names).most_common(1)[0] if names else ("", 0)
            if times > 1:
                raise InputError(str(path), f"column '{brief(name)}' {times} times", "each column once")
            return names
    raise InputError(str(path), "no header line", "a CSV with names of columns")


def read_csv(path: Path, what: str, types: Mapping[str, str], skip: int = 0) -> dict[str, npt.NDArray[Any]]:
    """Return columns of a CSV below ``skip`` lines as arrays, decimals that are absent or nan as NaN.

    ``types`` maps names to types of Arrow; ``string`` is for phases, which become 0 and 1. Errors:
    InputError (a column or a number that is missing, a number that does not fit its type).
    """
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    names = csv_names(path, skip)
    for name in types:
        if name not in names:
            raise InputError(str(path), f"no column '{name}'", did_you_mean(name, map(brief, names)))
    try:
        table = arrow_csv.read_csv(
            path,
            read_options=arrow_csv.ReadOptions(skip_rows=skip),
            convert_options=arrow_csv.ConvertOptions(
                column_types=types, include_columns=list(types), null_values=["nan", "-nan", "NaN"]
            ),
        )
    except (pa.ArrowException, KeyError) as error:
        reason = brief(str(error).split("\n")[0])
        raise InputError(str(path), reason, f"columns of {what}: " + ",".join(types)) from error
    for name, kind in types.items():
        if kind != "float32" and table.column(name).null_count:
            raise InputError(
                str(path), f"column '{name}' has no number in some line", "only weights may be nan"
            )
    return {
        name: phase_codes(column, str(path)) if types[name] == "string" else column.to_numpy()
        for name, column in zip(types, table.columns, strict=True)
    }
