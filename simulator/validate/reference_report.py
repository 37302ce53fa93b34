"""The reference validation as a page of Markdown: the worst run first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from textwrap import fill

import pandas as pd

from simulator.config.units import format_bytes
from simulator.trace.core import Trace
from simulator.validate.reference_gpu import POOL_BYTES
from simulator.validate.reference_setup import Setup


@dataclass(frozen=True, slots=True)
class Variant:
    """What ran, in words, and what a run should stay within: median error of a token, error of the total."""

    name: str
    engine: str
    median: float
    total: float


DRIVE = Variant(
    "a drive and a CPU",
    "reads {precision} experts of {expert} with O_DIRECT by {lanes} threads into an LRU cache and "
    "computes them with numpy on one thread",
    median=0.15,
    total=0.10,
)
GPU = Variant(
    "host memory and a GPU",
    "copies {precision} experts of {expert} from pinned memory{shared} by {lanes} threads, each on a stream "
    "of its own, into an LRU cache on {device}, and computes them there with PyTorch ({version})",
    median=0.10,
    total=0.05,
)
LABELS = ("dense", "expert", "stall", "overhead")
HEAD = """## Reference run: {name}

{intro}

{summary}

| run | median | mean | p90 | R² | total | measured | hits, late: measured | predicted | |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---|"""
INTRO = (
    "Written by `moesim validate reference`; every number is that command's. A small engine in Python "
    "{engine}, following {tokens} decoded tokens of {trace}; the simulator is given the same tokens "
    "and {machine}. Errors are those of wall time by token; the total's is signed. Without prefetch "
    "hits have to be identical; with it they depend on what landed in time, in both."
)
FRESH = (
    "a profile that was measured between the tokens of the same run (moves from random places, experts "
    "beside them and with nothing going on, nothing of the run's own times)"
)
PARTS = """
What a token consists of, in ms, measured / predicted:

| run | dense | experts | stall | overhead |
|---|---:|---:|---:|---:|"""


def page(
    rows: Sequence[Mapping[str, object]], tables: Mapping[str, pd.DataFrame], setup: Setup, trace: Trace
) -> str:
    """Return the page; ``rows`` of accuracy, worst first, ``tables`` by run."""
    variant = DRIVE if setup.gpu is None else GPU
    places = POOL_BYTES // setup.shape.expert_bytes
    engine = variant.engine.format(
        precision=setup.shape.precision,
        expert=format_bytes(setup.shape.expert_bytes),
        lanes=setup.lanes,
        shared=f" ({setup.n_experts} share {places} places)" if setup.n_experts > places else "",
        device=setup.gpu and setup.gpu.name,
        version=setup.gpu and setup.gpu.version,
    )
    intro = INTRO.format(
        engine=engine,
        tokens=trace.n_tokens,
        trace=trace.header.model,
        machine=f"the profile {setup.profile.name}" if setup.profile else FRESH,
    )
    head = HEAD.format(name=variant.name, intro=fill(intro, 110), summary=_summary(variant, rows))
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
            _verdict(variant, row),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    lines.append(PARTS)
    for row in rows:
        mean = tables[str(row["run"])].mean() / 1e6
        cells = [f"{mean[f'measured_{x}_ns']:.2f} / {mean[f'predicted_{x}_ns']:.2f}" for x in LABELS]
        lines.append(f"| {row['run']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _summary(variant: Variant, rows: Sequence[Mapping[str, object]]) -> str:
    """Say how many runs are within both limits."""
    medians = [float(str(row["median"])) for row in rows]
    within = sum(not _errors(variant, row) for row in rows)
    return (
        f"{within} of {len(rows)} runs within {variant.median:.0%} median and {variant.total:.0%} total; "
        f"median of medians {median(medians):.1%}, worst {max(medians):.1%}."
    )


def _verdict(variant: Variant, row: Mapping[str, object]) -> str:
    """Say where a run misses."""
    missed = _errors(variant, row)
    if "on demand" in str(row["run"]) and not row["hits_identical"]:
        missed.append("hits differ")
    return "; ".join(missed) or "within"


def _errors(variant: Variant, row: Mapping[str, object]) -> list[str]:
    """Return the limits that a run exceeds."""
    missed = []
    if float(str(row["median"])) > variant.median:
        missed.append(f"median above {variant.median:.0%}")
    if abs(float(str(row["bias"]))) > variant.total:
        missed.append(f"total off by more than {variant.total:.0%}")
    return missed
