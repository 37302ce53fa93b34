"""What the times of a reference run consist of, measured and predicted, and how their errors cancel."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from textwrap import fill

import pandas as pd

LABELS = {"dense": "dense", "expert": "experts", "stall": "stall", "overhead": "overhead"}
"""Column of a table of tokens -> heading."""
ERRORS = """
Errors by label: that of a run's sum, of what was measured of that label; the median run's, and how many runs
have its sign.

| label | of measured wall | median error | runs with its sign |
|---|---:|---:|---:|"""
PARTS = """
What a token consists of, in ms, measured / predicted:

| run | dense | experts | stall | overhead |
|---|---:|---:|---:|---:|"""


def label_lines(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """Return the errors by label over all runs, and the times of each run, in the order of ``tables``."""
    sums = {title: table.sum() for title, table in tables.items()}
    lines = [ERRORS]
    for label, heading in LABELS.items():
        shares = [found[f"measured_{label}_ns"] / found["measured_wall_ns"] for found in sums.values()]
        errors = [_error(found, label) / (found[f"measured_{label}_ns"] or 1) for found in sums.values()]
        middle = median(errors)
        same = sum(error * middle > 0 for error in errors)
        lines.append(f"| {heading} | {median(shares):.1%} | {middle:+.1%} | {same} of {len(errors)} |")
    lines += ["", fill(_cancelled(list(sums.values())), 110), PARTS]
    for title, table in tables.items():
        mean = table.mean() / 1e6
        cells = [f"{mean[f'measured_{x}_ns']:.2f} / {mean[f'predicted_{x}_ns']:.2f}" for x in LABELS]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return lines


def _error(sums: pd.Series[float], label: str) -> float:
    return float(sums[f"predicted_{label}_ns"] - sums[f"measured_{label}_ns"])


def _cancelled(runs: list[pd.Series[float]]) -> str:
    """Say how large the errors of the labels are before they cancel in the total, and after."""
    gross = [sum(abs(_error(sums, x)) for x in LABELS) / sums["measured_wall_ns"] for sums in runs]
    net = [abs(_error(sums, "wall")) / sums["measured_wall_ns"] for sums in runs]
    return (
        f"In a total they cancel in part: without their signs they add up to {median(gross):.1%} of wall "
        f"time in the median run ({max(gross):.1%} in the worst); totals are off by {median(net):.1%} "
        f"({max(net):.1%})."
    )
