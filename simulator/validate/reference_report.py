"""The reference validation as a page of Markdown: the worst run first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from simulator.trace.core import Trace
from simulator.validate.reference_run import Shape

MEDIAN, TOTAL = 0.15, 0.10
"""What a run should stay within: median error of a token, error of the total."""
LABELS = ("dense", "expert", "stall", "overhead")
HEAD = """## Reference run: a drive and a CPU

Written by `moesim validate reference`; every number is that command's. A small engine in Python reads
experts of {expert_kib} KiB with O_DIRECT by {lanes} threads into an LRU cache and computes them with numpy on
one thread, following {tokens} decoded tokens of {trace}; the simulator is given the same tokens and
{machine}.
Errors are those of wall time by token; the total's is signed. Without prefetch hits have to be identical;
with it they depend on what landed in time, in both.

| run | median | mean | p90 | R² | total | measured | hits, late: measured | predicted | |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---|"""
FRESH = """a profile that was measured between the tokens of the same run (reads at random places, experts
beside them, nothing of the run's own times)"""
PARTS = """
What a token consists of, in ms, measured / predicted:

| run | dense | experts | stall | overhead |
|---|---:|---:|---:|---:|"""


def page(
    rows: Sequence[Mapping[str, object]],
    tables: Mapping[str, pd.DataFrame],
    shape: Shape,
    lanes: int,
    trace: Trace,
    profile: str | None,
) -> str:
    """Return the page; ``rows`` of accuracy, worst first, ``tables`` by run; ``profile`` None: fresh."""
    head = HEAD.format(
        expert_kib=shape.expert_bytes // 1024,
        lanes=lanes,
        tokens=trace.n_tokens,
        trace=trace.header.model,
        machine=f"the profile {profile}" if profile else FRESH,
    )
    lines = [head]
    for row in rows:
        table = tables[str(row["run"])]
        sums = table.sum()
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
            _verdict(row),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    lines.append(PARTS)
    for row in rows:
        mean = tables[str(row["run"])].mean() / 1e6
        cells = [f"{mean[f'measured_{x}_ns']:.2f} / {mean[f'predicted_{x}_ns']:.2f}" for x in LABELS]
        lines.append(f"| {row['run']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _verdict(row: Mapping[str, object]) -> str:
    """Say where a run misses."""
    missed = []
    if float(str(row["median"])) > MEDIAN:
        missed.append(f"median above {MEDIAN:.0%}")
    if abs(float(str(row["bias"]))) > TOTAL:
        missed.append(f"total off by more than {TOTAL:.0%}")
    if "on demand" in str(row["run"]) and not row["hits_identical"]:
        missed.append("hits differ")
    return "; ".join(missed) or "within"
