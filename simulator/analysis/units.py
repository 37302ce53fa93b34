"""Which sequences stand for themselves: those of a batch share passes, and so their times are one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def sharing(rows: pd.DataFrame) -> pd.DataFrame:
    """Return ``run``, ``sequence`` and ``unit``: which sequences of a run share passes, however indirectly.

    ``rows`` has a row per run, pass and sequence. A unit is called by the lowest of its sequences.
    """
    import pandas as pd

    first = rows.groupby(["run", "pass"])["sequence"].transform("min")
    pairs = rows[["run", "sequence"]].assign(unit=first).drop_duplicates()
    found = [
        {"run": run, "sequence": sequence, "unit": unit}
        for run, part in pairs.groupby("run")
        for sequence, unit in components(zip(part["sequence"], part["unit"], strict=True)).items()
    ]
    return pd.DataFrame(found, columns=["run", "sequence", "unit"])


def across(sums: pd.DataFrame, runs: Iterable[int]) -> pd.Series[int]:
    """Return the unit of each sequence over ``runs``; ``sums`` has each run's, by run and sequence."""
    import pandas as pd

    own = sums.loc[sums.index.get_level_values("run").isin(list(runs)), "unit"]
    sequences = own.index.get_level_values("sequence")
    return pd.Series(components(zip(sequences, own, strict=True)), dtype="int64")


def components(pairs: Iterable[tuple[int, int]]) -> dict[int, int]:
    """Return for each node the least that it is connected with: union-find, with path halving."""
    above: dict[int, int] = {}

    def top(node: int) -> int:
        while above.setdefault(node, node) != node:
            above[node] = above[above[node]]
            node = above[node]
        return node

    for one, other in pairs:
        low, high = sorted((top(one), top(other)))
        above[high] = low
    return {node: top(node) for node in [*above]}
