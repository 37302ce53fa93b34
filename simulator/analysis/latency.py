"""The time that each decoded token took, as its user sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.analysis.tables import need_integers

if TYPE_CHECKING:
    import pandas as pd

INTEGERS = ("run", "pass", "sequence", "start_ns", "latency_ns")
PERCENTILES = [half / 2 for half in range(201)]
MARKED = (50, 95, 99)
NS_PER_MS = 1e6


def gaps_ms(tokens: pd.DataFrame) -> dict[int, Any]:
    """Return the gaps between tokens in ms [decoded tokens] by run; runs that decode none are not there.

    A gap reaches from the end of the sequence's last pass to that of this one, as TPOT does, so that other
    requests' prompts in between count. Errors: InputError where a column is missing or no number.
    """
    need_integers(tokens, INTEGERS, "tokens.parquet")
    rows = tokens.sort_values(["run", "sequence", "pass"], kind="stable")
    end = rows["start_ns"] + rows["latency_ns"]
    before = end.groupby([rows["run"], rows["sequence"]]).shift(fill_value=-1)
    gap = (end - before.where(before >= 0, rows["start_ns"])) / NS_PER_MS
    decoded = rows["phase"] == "decode"
    by_run = gap[decoded].groupby(rows["run"][decoded])
    return {int(str(run)): found.to_numpy(float) for run, found in by_run}
