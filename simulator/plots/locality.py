"""The figures of ``moesim trace locality``, drawn from its table alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.plots.locality_panels import PANELS
from simulator.plots.save import render, write
from simulator.plots.style import COLUMN, PAGE, panels, paper

if TYPE_CHECKING:
    import pandas as pd

TABLE, FORMATS, HEIGHT = "locality.csv", ("pdf", "png"), 2.2
NUMBERS = ("layer", "lag", "distance", "m", "rho", "size", "value", "low", "high")


def draw_locality(folder: Path) -> list[Path]:
    """Draw ``folder/locality.csv``: a figure a panel into ``folder/figures``, and all on one page beside it.

    A panel becomes NAME.pdf, NAME.png and NAME.csv with the rows that it shows; one without rows is left out.
    """
    import pandas as pd

    table = pd.read_csv(
        folder / TABLE, dtype=dict.fromkeys(NUMBERS, float), keep_default_na=False, na_values=[""]
    )
    files: dict[str, bytes] = {}
    with paper():
        shown = {name: rows for name, panel in PANELS.items() if len(rows := panel.rows(table))}
        for name, rows in shown.items():
            files |= _drawn(name, {name: rows}, 1, COLUMN)
            files[f"{name}.csv"] = rows.to_csv(index=False, float_format="%.6g", lineterminator="\n").encode()
        page = _drawn("locality", shown, 2, PAGE)
    return write(folder, page) + write(folder / "figures", files)


def _drawn(name: str, shown: Mapping[str, pd.DataFrame], columns: int, width: float) -> dict[str, bytes]:
    """Return a figure with these panels, in all formats."""
    figure, axes = panels(len(shown), columns, width, HEIGHT)
    for part, (panel, rows) in zip(axes, shown.items(), strict=True):
        PANELS[panel].draw(part, rows)
    return {f"{name}.{form}": render(figure, form) for form in FORMATS}
