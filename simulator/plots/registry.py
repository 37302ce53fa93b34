"""The figures by name, and drawing them into a run folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.analysis.baseline import baseline_name
from simulator.analysis.groups import group
from simulator.analysis.summary import need, read_summary
from simulator.analysis.tables import read_table
from simulator.errors import InputError, did_you_mean
from simulator.plots import (
    ablation,
    algorithm_and_code,
    hit_rate,
    latency_breakdown,
    latency_cdf,
    miss_penalty,
    pareto,
    popularity,
    prefetch_quality,
    residency,
    sensitivity,
    speed_up,
    tokens_per_second,
    utilisation,
)
from simulator.plots.letters import fallback
from simulator.plots.save import FORMATS, render, write
from simulator.plots.style import styled
from simulator.text import csv_cell

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Kind:
    """A figure: one line on what it shows, the columns that it needs, and the function that draws it.

    ``plot`` takes the summary (a row per run), then the ``tables`` (tokens, experts) that it asks for, and
    returns the figure and the data that it shows. One that ``compares`` takes ``baseline`` too. ``decoded``
    is the column, if any, that only runs with decoded tokens have: there is nothing to draw without it.
    """

    shows: str
    needs: tuple[str, ...]
    plot: Callable[..., tuple[Figure, pd.DataFrame]]
    tables: tuple[str, ...] = ()
    compares: bool = False
    decoded: str = ""


FIGURES = {
    "tokens-per-second": Kind(
        "decoded tokens per second, by system and cache size",
        tokens_per_second.NEEDS,
        tokens_per_second.plot,
        decoded=tokens_per_second.METRIC,
    ),
    "hit-rate": Kind("hit rate against cache size, with Belady's bound", hit_rate.NEEDS, hit_rate.plot),
    "latency-breakdown": Kind(
        "where the time of a decoded token goes, stacked",
        latency_breakdown.NEEDS,
        latency_breakdown.plot,
        decoded=latency_breakdown.NEEDS[1],
    ),
    "speed-up": Kind(
        "speed-up over a baseline on the same sequences, with 95 % intervals",
        speed_up.NEEDS,
        speed_up.plot,
        ("tokens",),
        compares=True,
    ),
    "latency-cdf": Kind(
        "distribution of the time per output token, with p50, p95 and p99",
        latency_cdf.NEEDS,
        latency_cdf.plot,
        ("tokens",),
    ),
    "miss-penalty": Kind(
        "bytes of loaded misses per lookup, in experts, against cache size",
        miss_penalty.NEEDS,
        miss_penalty.plot,
        decoded=miss_penalty.METRIC,
    ),
    "prefetch-quality": Kind(
        "accuracy, coverage and waste of prefetches, and late lookups",
        prefetch_quality.NEEDS,
        prefetch_quality.plot,
    ),
    "utilisation": Kind(
        "how busy links and compute are over a run's time", utilisation.NEEDS, utilisation.plot, ("tokens",)
    ),
    "residency": Kind(
        "which experts the cache held, by layer and popularity", residency.NEEDS, residency.plot, ("experts",)
    ),
    "popularity": Kind(
        "how unevenly a layer's experts are looked up", popularity.NEEDS, popularity.plot, ("experts",)
    ),
    "pareto": Kind(
        "gate mass lost against tokens per second, and the front of both at each cache size",
        pareto.NEEDS,
        pareto.plot,
        decoded=pareto.SPEED,
    ),
    "sensitivity": Kind(
        "change of tokens per second with each swept key",
        sensitivity.NEEDS,
        sensitivity.plot,
        decoded=sensitivity.METRIC,
    ),
    "ablation": Kind(
        "what each variant of a system adds to the one before",
        ablation.NEEDS,
        ablation.plot,
        decoded=ablation.METRIC,
    ),
    "algorithm-and-code": Kind(
        "how much of a lead over a baseline is the algorithm, and how much the software",
        algorithm_and_code.NEEDS,
        algorithm_and_code.plot,
        compares=True,
        decoded=algorithm_and_code.METRIC,
    ),
}


def listing() -> list[tuple[str, str]]:
    """Return the names of all figures, each with a line on what it shows."""
    return [(name, kind.shows) for name, kind in FIGURES.items()]


def draw(
    names: Iterable[str],
    run_dir: Path,
    formats: Sequence[str] = ("pdf", "png"),
    style: str = "paper",
    width: str | None = None,
    *,
    out: Path | None = None,
    baseline: str | None = None,
    left_out: Callable[[str, Exception], None] | None = None,
) -> list[Path]:
    """Draw figures from the tables of ``run_dir`` into ``out`` (its ``figures``); return the files written.

    Each figure becomes NAME.FORMAT for every format, or NAME-STYLE.FORMAT in another style than ``paper``,
    and NAME.csv with the data shown. Nothing is written unless all can be drawn; ``left_out`` is told of
    those that cannot instead, whatever the reason. Errors: InputError on an unknown name, format, style or
    baseline, and on results that are missing, foreign or empty.
    """
    wanted = list(dict.fromkeys(names))
    _check(wanted, formats, baseline)
    folder = out or _figures_of(Path(run_dir))
    files: dict[str, bytes] = {}
    with styled(style, width):
        if not wanted:
            return []
        source = Source(Path(run_dir), baseline)
        source.use_letters()
        for name in wanted:
            try:
                figure, data = source.draw(FIGURES[name])
                suffix = "" if style == "paper" else f"-{style}"
                drawn = {f"{name}{suffix}.{form}": render(figure, form) for form in dict.fromkeys(formats)}
            except Exception as error:
                if left_out is None:
                    raise
                left_out(name, error)
                continue
            files |= drawn | {f"{name}.csv": as_csv(data)}
    return write(folder, files)


def _check(wanted: Sequence[str], formats: Sequence[str], baseline: str | None) -> None:
    for name in wanted:
        if name not in FIGURES:
            raise InputError("figures", f"unknown figure ({name!r})", did_you_mean(name, FIGURES))
    for form in formats:
        if form not in FORMATS:
            raise InputError("format", f"unknown format ({form!r})", did_you_mean(form, FORMATS))
    if baseline is not None and wanted and not any(FIGURES[name].compares for name in wanted):
        comparing = ", ".join(name for name, kind in FIGURES.items() if kind.compares)
        raise InputError("--baseline", "no figure that was asked for has one", f"draw one of: {comparing}")


def _figures_of(run_dir: Path) -> Path:
    """Return where a run folder has its figures; InputError if that leads out of it."""
    folder = run_dir / "figures"
    if folder.is_symlink():
        hint = "take it away, or name a folder with --out"
        raise InputError(str(folder), "is a symbolic link, and leads elsewhere", hint)
    return folder


def lacking(run_dir: Path) -> str:
    """Return the letters of a run folder's names that no font here has: boxes in its figures."""
    return Source(run_dir).use_letters()


def as_csv(data: pd.DataFrame) -> bytes:
    """Return the data of a figure as CSV; none of its texts is a formula to a spreadsheet."""
    safe = data.map(lambda cell: csv_cell(cell) if isinstance(cell, str) else cell)
    content: bytes = safe.to_csv(index=False, lineterminator="\n").encode()
    return content


class Source:
    """A run folder that figures are drawn from; each of its tables is read once.

    Errors: InputError where the summary or the baseline is none.
    """

    def __init__(self, run_dir: Path, baseline: str | None = None) -> None:
        self.run_dir, self.baseline = run_dir, baseline
        self.summary = read_summary(run_dir)
        self.tables: dict[str, pd.DataFrame] = {}
        if baseline is not None:
            baseline_name(group(self.summary), baseline)

    def use_letters(self) -> str:
        """Let the style fall back on fonts that have this folder's letters; return those that none has."""
        from matplotlib import rcParams

        text = self.summary.select_dtypes(exclude="number")
        names = [str(name) for column in text for name in text[column].unique()]
        families, missing = fallback([*names, *map(str, self.summary.columns)])
        if families:
            rcParams["font.family"] = [*rcParams["font.family"], *families]
        return missing

    def draw(self, kind: Kind) -> tuple[Figure, pd.DataFrame]:
        """Return a figure and its data. Errors: InputError where the folder lacks what it needs."""
        where = str(self.run_dir / "summary.csv")
        need(self.summary, kind.needs, where)
        if kind.decoded and self.summary[kind.decoded].isna().all():
            raise InputError(where, "no run has decoded tokens", "replay a trace that decodes")
        for name in kind.tables:
            if name not in self.tables:
                self.tables[name] = read_table(self.run_dir, name)
        tables = [self.tables[name].copy() for name in kind.tables]
        options = {"baseline": self.baseline} if kind.compares else {}
        return kind.plot(self.summary.copy(), *tables, **options)
