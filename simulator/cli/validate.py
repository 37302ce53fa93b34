"""``moesim validate``: predictions beside what real runs recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from simulator.cli.arguments import Sets
from simulator.cli.effects import Effective
from simulator.cli.validate_reference import reference
from simulator.cli.validate_rows import measured, published
from simulator.errors import InputError

app = typer.Typer(no_args_is_help=True, help="Compare predictions with recorded runs.")
for command in (reference, measured, published):
    app.command(cls=Effective)(command)


@app.callback()
def options() -> None:
    """Compare predictions with recorded runs."""


@app.command(cls=Effective)
def phone(
    out: Annotated[Path, typer.Option("--out", "-o", help="folder for the report")],
    trace: Annotated[
        list[Path] | None,
        typer.Option("--trace", metavar="F", help="routing of a run to predict (repeatable)"),
    ] = None,
    metrics: Annotated[
        list[Path] | None, typer.Option("--metrics", metavar="F", help="what that run's tokens took")
    ] = None,
    fit_trace: Annotated[
        Path | None, typer.Option("--fit-trace", metavar="F", help="routing of the run to fit on")
    ] = None,
    fit_metrics: Annotated[
        Path | None, typer.Option("--fit-metrics", metavar="F", help="what that run's tokens took")
    ] = None,
    fit_tokens: Annotated[
        int, typer.Option("--fit-tokens", help="how many of its first tokens to fit on")
    ] = 64,
    set_: Sets = None,
    force: Annotated[bool, typer.Option("--force", help="replace another validation's results")] = False,
) -> None:
    """Fit a phone on a run of BigMoeOnEdge, and predict its other tokens and other runs."""
    from simulator.validate.phone.run import validate_phone

    traces, measured = trace or [], metrics or []
    if len(traces) != len(measured):
        raise InputError(
            "--trace", f"{len(traces)} traces and {len(measured)} metrics", "a --metrics for each --trace"
        )
    if (fit_trace is None) != (fit_metrics is None):
        raise InputError("--fit-trace", "goes with --fit-metrics", "give both or neither")
    pair = (fit_trace, fit_metrics) if fit_trace and fit_metrics else None
    done = validate_phone(
        out, pair, list(zip(traces, measured, strict=True)), fit_tokens, set_ or [], force=force
    )
    for row in done.rows:
        if row["predictor"] == "simulated" and row["median"] == row["median"]:  # not NaN: none was above 0
            print(f"{row['part']}, {row['quantity']}: median error {float(str(row['median'])):.1%}")
    print(f"results: {out}")
