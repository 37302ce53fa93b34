"""The phone's validation as a page of Markdown: the bad figures first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from simulator.validate.compare import NEIGHBOURS, Part, error_shares
from simulator.validate.phone import Parameters
from simulator.validate.phone_fit import Fitted

UNITS = {
    "compute": ("compute, bytes of weights", 1e9, "GB/s"),
    "lane": ("flash, one lane", 1e9, "GB/s"),
    "total": ("flash, all lanes", 1e9, "GB/s"),
    "copy": ("copy after a read", 1e9, "GB/s"),
    "per_pass": ("management, a token", 1e6, "ms"),
    "evict": ("management, bytes evicted", 1e9, "GB/s"),
}
HEAD = """## Phone: BigMoeOnEdge on a OnePlus 15R

Written by `moesim validate phone`; every number is that command's.
Recorded runs of an engine that reads experts from flash into a cache in RAM, replayed by
[phone-bigmoe.yaml](../../experiments/phone-bigmoe.yaml). Errors are those of decoded tokens, relative to
what was measured: p90 is the ninth decile of the absolute ones, bias the error of the sum. *Wall, recorded
compute* is recorded compute + predicted stall + predicted management; *wall* has the fitted compute instead.
Beside the simulation stand medians and R² of a straight line through the bytes that were read, fitted on the
same tokens (it is told the bytes; a simulation finds them), and of `policy: recorded`, which replays the
recorded hits and misses (and evicts at no cost, so that it tells stall and management only together).
"""
LIMITS = """
### What the errors are

The clock and page faults are not modelled; compute is bytes over one rate. *Level of compute* is how far the
median of the {n} tokens around each one lies from the fitted compute: it moves with the clock, and with pages
that are lost all the time. *Bursts* are how far a token is off that level: page faults, other processes.
Mean absolute ms a token, and the share of the four:
"""


def page(
    parts: Sequence[Part],
    tables: Mapping[str, Mapping[str, pd.DataFrame]],
    rows: Sequence[Mapping[str, object]],
    parameters: Parameters,
    fitted: Fitted | None,
) -> str:
    """Return the page; ``tables`` by part and predictor, ``rows`` of ``accuracies``."""
    judged = [part for part in parts if not part.fitted]
    shown = [*reversed(judged), *(part for part in parts if part.fitted)]
    text = [HEAD]
    for part in shown:
        text += [f"\n### {part.title}\n", *_accuracy_table([r for r in rows if r["part"] == part.title])]
    text.append(LIMITS.format(n=NEIGHBOURS))
    text += _shares(shown, tables)
    text += ["\n### Parameters\n", *_parameters(parameters, fitted, parts)]
    return "\n".join(text) + "\n"


def _accuracy_table(rows: Sequence[Mapping[str, object]]) -> list[str]:
    """Lay out the simulation's rows in their order, each with what the other predictors say."""
    beside = list(dict.fromkeys(str(row["predictor"]) for row in rows if row["predictor"] != "simulated"))
    lines = [
        "| | median | mean | p90 | R² | bias | "
        + " | ".join(f"{name}: median, R²" for name in beside)
        + " |",
        "|---|---:|---:|---:|---:|---:|" + "---:|" * len(beside),
    ]
    found = {(row["quantity"], row["predictor"]): row for row in rows}
    for (quantity, predictor), row in found.items():
        if predictor != "simulated":
            continue
        cells = [f"{_percent(row[name])} %" for name in ("median", "mean", "p90")]
        cells += [f"{row['r2']:.3f}", f"{_percent(row['bias'])} %"]
        for name in beside:
            other = found.get((quantity, name))
            cells.append(f"{_percent(other['median'])} %, {other['r2']:.3f}" if other else "")
        lines.append(f"| {quantity} | " + " | ".join(cells) + " |")
    return lines


def _percent(share: object) -> str:
    return f"{100 * float(str(share)):.2f}"


def _shares(parts: Sequence[Part], tables: Mapping[str, Mapping[str, pd.DataFrame]]) -> list[str]:
    shares = {part.title: error_shares(tables[part.title]["simulated"]) for part in parts}
    lines = ["| | " + " | ".join(shares) + " |", "|---|" + "---:|" * len(shares)]
    for name in next(iter(shares.values())):
        cells = [f"{found[name]:.1f} ({found[name] / sum(found.values()):.0%})" for found in shares.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    measured = [tables[part.title]["simulated"] for part in parts]
    faults = [f"{table['measured_majflt'].mean():,.0f}" for table in measured]
    moves = [f"{table['measured_majflt'].corr(table['measured_compute_ms']):.2f}" for table in measured]
    return [
        *lines,
        "| major page faults a token | " + " | ".join(faults) + " |",
        "| their correlation with compute | " + " | ".join(moves) + " |",
    ]


def _parameters(parameters: Parameters, fitted: Fitted | None, parts: Sequence[Part]) -> list[str]:
    if fitted is None:
        lines = ["Those of the shipped profile and experiment; nothing was fitted.\n"]
    else:
        on = next(part.tokens for part in parts if part.fitted)
        lines = [f"Fitted on {on}, nothing else; intervals are 90 %, by bootstrap over tokens.\n"]
    lines += ["| | value | interval |", "|---|---:|---:|"]
    for name, (what, scale, unit) in UNITS.items():
        between = ""
        if fitted is not None:
            low, high = fitted.interval[name]
            between = f"{low / scale:.3f} to {high / scale:.3f}"
            if name == "total" and fitted.lanes_limit:
                between = "at least: the lanes limit, not their total"
        lines.append(f"| {what} | {getattr(parameters, name) / scale:.3f} {unit} | {between} |")
    return lines
