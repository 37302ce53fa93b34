"""Units of columns, read from their names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

UNITS = (
    (r"tokens_per_second", "tokens/s"),
    (r"(^|_)ms(_|$)", "ms"),
    (r"(^|_)ns$", "ns"),
    (r"(^|_)s$", "s"),
    (r"(^|_)bytes(_|$)", "bytes"),
    (r"(^|_)(rate|share|accuracy|coverage|mass)(_|$)", "1"),
    (r"speed_up", "1"),
)
"""What a name says (a regular expression) and the unit of the column."""


def with_units(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with ``attrs["units"]``: the unit of each column whose name tells it."""
    found = {
        name: next((unit for said, unit in UNITS if re.search(said, str(name))), "") for name in table.columns
    }
    table.attrs["units"] = {name: unit for name, unit in found.items() if unit}
    return table
