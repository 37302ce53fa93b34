"""``moesim plot``: draw figures from a results folder, without simulating again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from simulator.errors import InputError


def plot(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="a results folder")],
    figure: Annotated[
        list[str] | None,
        typer.Option(help="a figure of `list figures` (default: all that DIR has the data for)"),
    ] = None,
    style: Annotated[str, typer.Option(help="paper, talk or notebook")] = "paper",
    width: Annotated[
        str | None, typer.Option(help="of a paper's columns: acm (default), ieee, usenix, icml, neurips")
    ] = None,
    fmt: Annotated[str, typer.Option("--format", help="pdf, png, svg, separated by commas")] = "pdf,png",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FOLDER", help="default: DIR/figures")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(metavar="SYSTEM", help="what speed-ups are over (default: the first system)")
    ] = None,
) -> None:
    """Draw figures of results that are there."""
    from simulator.plots import FIGURES, draw, lacking

    formats = tuple(word.strip() for word in fmt.split(","))
    failed: list[Exception] = []

    def left_out(name: str, error: Exception) -> None:
        if not isinstance(error, InputError):  # a fault of ours: the others are drawn first
            failed.append(error)
        print(f"left out: {name}: {error}", file=sys.stderr)

    names = figure or list(FIGURES)
    if letters := lacking(folder):
        print(f"moesim: no font here has these letters, boxes in the figures: {letters}", file=sys.stderr)
    skip = None if figure else left_out
    for path in draw(names, folder, formats, style, width, out=out, baseline=baseline, left_out=skip):
        print(path)
    if failed:
        raise failed[0]
