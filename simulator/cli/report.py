"""``moesim report``: one page about a results folder, without simulating again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="a results folder")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="the .html to write (default: DIR/report.html)")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="replace a file that is no report")] = False,
) -> None:
    """Write answer, warnings, runs, figures, configuration and provenance as one HTML page."""
    from simulator.report import write_report

    print(write_report(folder, out, force=force))
