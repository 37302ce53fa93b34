"""The table of runs: what tells them apart, then the metrics, as cells with their exact values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.analysis.labels import value_text
from simulator.analysis.summary import CACHES, IDENTITY, swept
from simulator.numerals import exact, fixed
from simulator.report.words import bytes_text, decimals, heading, is_bytes

if TYPE_CHECKING:
    import pandas as pd

# Metrics that are shown before a reader chooses others.
HEADLINES = (
    "tokens_per_second", "ttft_ms_mean", "tpot_ms_mean", "hit_rate", "hit_rate_decode", "stall_ms_per_token",
    "belady_hit_rate",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name in the summary, its heading, its cells as (shown, in full), and how to treat it.

    ``group`` is "run" (who the run is) or "metric".
    """

    name: str
    heading: str
    cells: list[tuple[str, str]]
    group: str
    numeric: bool
    shown: bool


def columns(summary: pd.DataFrame) -> list[Column]:
    """Return the columns that hold anything, in the summary's order."""
    who = {"run", "experiment", "seed", *IDENTITY, *CACHES, *swept(summary)}
    found = [_column(summary, str(name), str(name) in who) for name in summary]
    return [column for column in found if any(shown for shown, _ in column.cells)]


def _column(summary: pd.DataFrame, name: str, who: bool) -> Column:  # noqa: FBT001 - a private helper
    import pandas as pd

    values = summary[name]
    varies = len(values.drop_duplicates()) > 1
    shown = name in {"run", "system"} or varies if who else name in HEADLINES
    numbers = pd.to_numeric(values.replace("", None), errors="coerce")
    numeric = bool((numbers.notna() == (values.notna() & (values != ""))).all() and numbers.notna().any())
    if pd.api.types.is_numeric_dtype(values):
        cells = _numbers(values, name)
    else:
        cells = [(value_text(text), str(text)) for text in values]
    return Column(name, heading(name), cells, "run" if who else "metric", numeric, shown)


def _numbers(values: pd.Series[float], name: str) -> list[tuple[str, str]]:
    places = decimals(values)
    text = bytes_text if is_bytes(name) else lambda value: fixed(value, places)
    return [("", "") if value != value else (text(value), exact(value)) for value in values]  # noqa: PLR0124 - NaN
