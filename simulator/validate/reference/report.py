"""The reference validation as a page of Markdown: the worst run first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

import pandas as pd

from simulator.trace.core import Trace
from simulator.validate.reference.intro import Variant, intro, variant_of
from simulator.validate.reference.labels import label_lines
from simulator.validate.reference.setup import Setup

Row = Mapping[str, object]
HEAD = """
| run | median | mean | p90 | R² | total | measured | hits, late: measured | predicted | |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---|"""


def page(rows: Sequence[Row], tables: Mapping[str, pd.DataFrame], setup: Setup, trace: Trace) -> str:
    """Return the page; ``rows`` of accuracy, worst first, ``tables`` by run."""
    variant = variant_of(setup)
    lines = [intro(setup, trace), "", _summary(variant, rows), HEAD]
    for row in rows:
        sums = tables[str(row["run"])].sum()
        shares = [f"{float(str(row[name])):.1%}" for name in ("median", "mean", "p90")]
        found = [
            f"{sums[f'{who}_hits']:,.0f}, {sums[f'{who}_late']:,.0f}" for who in ("measured", "predicted")
        ]
        cells = [
            str(row["run"]),
            *shares,
            f"{float(str(row['r2'])):.2f}",
            f"{float(str(row['bias'])):+.1%}",
            f"{sums['measured_wall_ns'] / 1e9:.2f} s",
            *found,
            "; ".join(_misses(variant, row)) or "within",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    lines += label_lines({str(row["run"]): tables[str(row["run"])] for row in rows})
    return "\n".join(lines) + "\n"


def _summary(variant: Variant, rows: Sequence[Row]) -> str:
    """Say how many runs are within both limits, with the hits that they have to have."""
    medians = [float(str(row["median"])) for row in rows]
    within = sum(not _misses(variant, row) for row in rows)
    return (
        f"{within} of {len(rows)} runs within {variant.median:.0%} median and {variant.total:.0%} total; "
        f"median of medians {median(medians):.1%}, worst {max(medians):.1%}."
    )


def _misses(variant: Variant, row: Row) -> list[str]:
    """Return in what a run is not within."""
    missed = []
    if float(str(row["median"])) > variant.median:
        missed.append(f"median above {variant.median:.0%}")
    if abs(float(str(row["bias"]))) > variant.total:
        missed.append(f"total off by more than {variant.total:.0%}")
    if "on demand" in str(row["run"]) and not row["hits_identical"]:
        missed.append("hits differ")
    return missed
