"""The figures by name, and drawing them into a run folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.errors import InputError, did_you_mean
from simulator.plots import hit_rate, latency_breakdown, tokens_per_second
from simulator.plots.save import FORMATS, render, write
from simulator.plots.style import paper
from simulator.plots.summary import need, read_summary

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Kind:
    """A figure: one line on what it shows, the columns that it needs, and the function that draws it.

    ``plot`` takes the summary (a row per run) and returns the figure and the data that it shows.
    """

    shows: str
    needs: tuple[str, ...]
    plot: Callable[[pd.DataFrame], tuple[Figure, pd.DataFrame]]


FIGURES = {
    "tokens-per-second": Kind(
        "decoded tokens per second, by system and cache size", tokens_per_second.NEEDS, tokens_per_second.plot
    ),
    "hit-rate": Kind("hit rate against cache size, with Belady's bound", hit_rate.NEEDS, hit_rate.plot),
    "latency-breakdown": Kind(
        "where the time of a decoded token goes, stacked", latency_breakdown.NEEDS, latency_breakdown.plot
    ),
}


def listing() -> list[tuple[str, str]]:
    """Return the names of all figures, each with a line on what it shows."""
    return [(name, kind.shows) for name, kind in FIGURES.items()]


def draw(names: Iterable[str], run_dir: Path, formats: Sequence[str] = ("pdf", "png")) -> list[Path]:
    """Draw figures from ``run_dir/summary.csv`` into ``run_dir/figures``; return the files written.

    Each figure becomes NAME.FORMAT for every format and NAME.csv with the data shown. Nothing is written
    unless all can be drawn. Errors: InputError on an unknown name or format, and on results that are
    missing, foreign or empty.
    """
    wanted = list(dict.fromkeys(names))
    for name in wanted:
        if name not in FIGURES:
            raise InputError("figures", f"unknown figure ({name!r})", did_you_mean(name, FIGURES))
    for form in formats:
        if form not in FORMATS:
            raise InputError("format", f"unknown format ({form!r})", did_you_mean(form, FORMATS))
    if not wanted:
        return []
    run_dir = Path(run_dir)
    summary = read_summary(run_dir)
    files: dict[str, bytes] = {}
    with paper():
        for name in wanted:
            kind = FIGURES[name]
            need(summary, kind.needs, str(run_dir / "summary.csv"))
            figure, data = kind.plot(summary)
            files |= {f"{name}.{form}": render(figure, form) for form in dict.fromkeys(formats)}
            files[f"{name}.csv"] = data.to_csv(index=False, lineterminator="\n").encode()
    return write(run_dir / "figures", files)
