"""``moesim plot``: draw figures from a results folder, without simulating again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def plot(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="a results folder")],
    figure: Annotated[
        list[str] | None, typer.Option(help="a figure of `list figures` (default: all)")
    ] = None,
    fmt: Annotated[str, typer.Option("--format", help="pdf, png, svg, separated by commas")] = "pdf,png",
) -> None:
    """Draw figures of results that are there."""
    from simulator.plots import FIGURES, draw

    for path in draw(figure or list(FIGURES), folder, tuple(fmt.split(","))):
        print(path)
