"""``moesim validate reference``: a small engine that is real, beside its simulation."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def reference(
    out: Annotated[Path, typer.Option("--out", "-o", help="folder for the report")],
    folder: Annotated[
        Path, typer.Option(help="folder on the drive to use (1.5 GiB, removed afterwards)")
    ] = Path(),
    trace: Annotated[str, typer.Option(help="trace with recorded predictions")] = "olmoe-mini",
    sizes: Annotated[
        list[float] | None,
        typer.Option(help="cache, as a share of all experts (repeatable; 0.25, 0.5, 0.75)"),
    ] = None,
    tokens: Annotated[int, typer.Option(min=1, help="decoded tokens of each run")] = 256,
    profile: Annotated[
        str | None, typer.Option(help="profile to use (default: calibrate between the tokens)")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="replace another validation's results")] = False,
) -> None:
    """Move and compute experts of a drive for real, simulate the same, and compare token by token."""
    from simulator.hardware import load_hardware
    from simulator.trace.find import find_trace
    from simulator.trace.parquet import read_trace
    from simulator.validate.reference import Setup, validate_reference

    setup = Setup(
        folder=folder,
        trace=read_trace(find_trace(trace)),
        sizes=tuple(sizes or (0.25, 0.5, 0.75)),
        tokens=tokens,
        profile=load_hardware(profile) if profile else None,
    )
    page = validate_reference(out, setup, force=force, say=lambda what: print(what, file=sys.stderr))
    print(page)
    print(f"results: {out}")
