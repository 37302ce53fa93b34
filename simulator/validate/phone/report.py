"""The phone's validation as a page of Markdown: the bad figures first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from simulator import __version__
from simulator.validate.phone.baselines import MEANING, SIMULATED
from simulator.validate.phone.compare import QUANTITIES, TokenRange
from simulator.validate.phone.fit import Fitted
from simulator.validate.phone.replay import Parameters
from simulator.validate.phone.report_errors import errors

Rows = Mapping[tuple[object, object], Mapping[str, object]]
"""Rows of ``accuracies`` of one part, by quantity and predictor."""
UNITS = {
    "compute": ("compute, bytes of weights", 1e9, "GB/s"),
    "lane": ("flash, one lane", 1e9, "GB/s"),
    "total": ("flash, all lanes", 1e9, "GB/s"),
    "copy": ("copy after a read", 1e9, "GB/s"),
    "per_pass": ("management, a token", 1e6, "ms"),
    "evict": ("management, bytes evicted", 1e9, "GB/s"),
}
HEAD = """## Phone: BigMoeOnEdge on a OnePlus 15R

Written by moesim {version}; every number is this command's:

```bash
{command}
```

Recorded runs of an engine that reads experts from flash into a cache in RAM, replayed by
[phone-bigmoe.yaml](../../experiments/phone-bigmoe.yaml). Errors are those of decoded tokens, relative to
what was measured: p90 is the ninth decile of the absolute ones, bias the error of the sum. *Wall, recorded
compute* is recorded compute + predicted stall + predicted management; *wall* has the fitted compute instead.
The mechanism (what overlaps what) was chosen with these errors of the two published runs in sight; no
parameter was fitted on a token outside *fitted on*.

Beside the simulation stand, with median and R²:
"""
FITTED = """Fitted on {on}, nothing else; intervals are 90 %, by bootstrap over these tokens. They say
nothing of later ones: a clock that changes behind them is not in the interval of compute.
"""
EXCESS = """
Computing took {measured:,.0f} ms a token (median), {predicted:,.0f} ms are simulated. Stalls are simulated as
if the excess were paging of dense blocks, which overlaps no read: {dense:.0f} ms a token, {stall:.0f} were
measured ({medians[0]} median error). With dense blocks and experts slower alike they would be {alike:.0f} ms
({medians[1]}); without any overlap they are {medians[2]} off. So this part supports the rates of lanes and
copies, **not** what overlaps what: for that see *no overlap* in parts whose compute is near the rate's."""
TIMES_FITTED = 2  # recorded compute above this times the predicted one is none that the rate could be of


def page(
    command: str,
    parts: Sequence[TokenRange],
    tables: Mapping[str, Mapping[str, pd.DataFrame]],
    rows: Sequence[Mapping[str, object]],
    parameters: Parameters,
    fitted: Fitted | None,
) -> str:
    """Return the page; ``tables`` by part and predictor, ``rows`` of ``accuracies``; parts in their order."""
    beside = [name for name in MEANING if any(row["predictor"] == name for row in rows)]
    text = [HEAD.format(version=__version__, command=command)]
    text += [f"- *{name}*: {MEANING[name]}" for name in beside]
    for part in parts:
        found = {(r["quantity"], r["predictor"]): r for r in rows if r["part"] == part.title}
        text += [f"\n### {part.title}\n", *_accuracy(found), "", *_beside(found, beside)]
        text += _excess(tables[part.title], found)
    text += errors(parts, {part.title: tables[part.title][SIMULATED] for part in parts})
    text += ["\n### Tensors of an expert\n"]
    runs = {part.recorded.name: part.recorded for part in parts}
    text += [f"- {name}: {run.about_tensors}." for name, run in runs.items()]
    text += ["\n### Parameters\n", *_parameters(parameters, fitted, parts)]
    return "\n".join(text) + "\n"


def _accuracy(found: Rows) -> list[str]:
    """Lay out the simulation's rows in their order."""
    lines = ["| | median | mean | p90 | R² | bias |", "|---|---:|---:|---:|---:|---:|"]
    for (quantity, predictor), row in found.items():
        if predictor == SIMULATED:
            zero = f" (tokens of 0 left out: {row['zero_tokens']})" if row["zero_tokens"] else ""
            cells = [_percent(row[name]) for name in ("median", "mean", "p90")]
            cells += [_number(row["r2"]), _percent(row["bias"])]
            lines.append(f"| {quantity}{zero} | " + " | ".join(cells) + " |")
    return lines


def _beside(found: Rows, beside: Sequence[str]) -> list[str]:
    """Lay out median and R² of the simulation and of what stands beside it."""
    told = [quantity for name, quantity in QUANTITIES.items() if name != "read_bytes"]
    lines = ["| median, R² | " + " | ".join(told) + " |", "|---|" + "---:|" * len(told)]
    for name in (SIMULATED, *beside):
        rows = [found.get((quantity, name)) for quantity in told]
        cells = [f"{_percent(row['median'])}, {_number(row['r2'])}" if row else "" for row in rows]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def _excess(tables: Mapping[str, pd.DataFrame], found: Rows) -> list[str]:
    """Say what a part shows whose compute is far above what the rate says."""
    table = tables[SIMULATED]
    measured, predicted = table["measured_compute_ms"].median(), table["predicted_compute_ms"].median()
    if measured < TIMES_FITTED * predicted:
        return []
    stall = {name: tables[name]["predicted_stall_ms"].mean() for name in (SIMULATED, "compute as recorded")}
    medians = [_percent(found["stall", name]["median"]) for name in (*stall, "no overlap")]
    return [
        EXCESS.format(
            measured=measured,
            predicted=predicted,
            stall=table["measured_stall_ms"].mean(),
            dense=stall[SIMULATED],
            alike=stall["compute as recorded"],
            medians=medians,
        )
    ]


def _percent(share: object) -> str:
    return "-" if np.isnan(float(str(share))) else f"{100 * float(str(share)):.2f} %"


def _number(value: object) -> str:
    return "-" if np.isnan(float(str(value))) else f"{value:z.3f}"


def _parameters(parameters: Parameters, fitted: Fitted | None, parts: Sequence[TokenRange]) -> list[str]:
    if fitted is None:
        lines = ["Those of the shipped profile and experiment; nothing was fitted.\n"]
    else:
        on = next(part.tokens for part in parts if part.fitted)
        lines = [FITTED.format(on=on)]
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
