"""The figures that a run folder has the data for, as bytes for a page."""

from __future__ import annotations

import gzip
from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simulator.errors import InputError
from simulator.plots import FIGURES
from simulator.plots.registry import Source, as_csv
from simulator.plots.save import render
from simulator.plots.style import paper
from simulator.report.folder import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CSS_PX_PER_INCH = 115  # 8 pt letters are as high as the page's small print
HIGHEST = 40  # inches
PLAIN_BYTES = 20_000  # of a CSV; a larger one is compressed


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure as ``data:`` URIs, with the width in CSS pixels at which its letters are readable."""

    name: str
    shows: str
    png: str
    csv: str
    file: str
    """What the CSV is called when it is saved."""
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What was drawn, and what was not with the reason."""

    drawn: list[Picture]
    left_out: list[tuple[str, str]]


def draw_figures(results: Results) -> Figures:
    """Draw every figure whose columns and tables are there."""
    found, source = Figures([], []), Source(results.folder)
    with paper():
        for name in FIGURES:
            try:
                found.drawn.append(_drawn(name, source))
            except InputError as error:
                found.left_out.append((name, error.what))
            except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # tables that were edited
                found.left_out.append((name, f"its data make no sense: {error}"))
    return found


def _drawn(name: str, source: Source) -> Picture:
    kind = FIGURES[name]
    figure, data = source.draw(kind)
    width, height = _pixels(name, figure)
    png, csv = few_colours(render(figure, "png")), as_csv(data)
    saved = uri("text/csv", csv), f"{name}.csv"
    if len(csv) > PLAIN_BYTES:
        saved = uri("application/gzip", gzip.compress(csv, mtime=0)), f"{name}.csv.gz"
    return Picture(name, kind.shows, uri("image/png", png), *saved, width, height)


def few_colours(png: bytes) -> bytes:
    """Return a picture in 256 colours, which figures do not exceed by much: a third of the bytes."""
    from io import BytesIO

    from PIL import Image

    buffer = BytesIO()
    image = Image.open(BytesIO(png)).convert("RGB")
    image.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
        buffer, "png", optimize=True
    )
    return buffer.getvalue()


def _pixels(name: str, figure: Figure) -> tuple[int, int]:
    inches: Any = figure.get_size_inches()
    if inches[1] > HIGHEST:
        raise InputError(name, f"would be {inches[1]:.0f} inches high", "draw it from fewer runs")
    width, height = (round(float(side) * CSS_PX_PER_INCH) for side in inches)
    return width, height


def uri(media_type: str, content: bytes) -> str:
    """Return bytes as a ``data:`` URI."""
    return f"data:{media_type};base64,{b64encode(content).decode('ascii')}"
