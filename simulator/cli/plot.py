"""``moesim plot``: draw figures from a results folder, without simulating again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
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
    from simulator.plots import FIGURES, draw

    formats = tuple(word.strip() for word in fmt.split(","))
    skip = None if figure else _left_out
    names = figure or list(FIGURES)
    for path in draw(names, folder, formats, style, width, out=out, baseline=baseline, left_out=skip):
        print(path)


def _left_out(name: str, error: InputError) -> None:
    print(f"left out: {name}: {error}", file=sys.stderr)
