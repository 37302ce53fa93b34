"""Which runs a figure with a panel for each run shows, where there are more than it has room for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simulator.analysis.groups import PANEL, SERIES, SIZE, Groups, group
from simulator.analysis.summary import CACHES, HINT
from simulator.errors import InputError
from simulator.plots.lines import size_title
from simulator.plots.style import fitted

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


MOST_ROWS = 4
CELL = [PANEL, SERIES, SIZE]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The runs shown, by panel, series and size: the parts of their titles by number, and how many sizes.

    ``selection`` says which of how many; ``identity`` has what tells a run apart, for the CSV.
    """

    titles: dict[int, list[str]]
    sizes: int
    selection: str
    identity: pd.DataFrame

    @property
    def note(self) -> str:
        """What to write below the figure: nothing where all runs are shown."""
        return "" if self.selection == "all runs" else f"Shown: {self.selection}."

    def columns(self, panels: int, most: int) -> int:
        """Return how many ``panels`` to draw abreast: all sizes of a system, unless rows are too many."""
        if 1 < self.sizes <= most and panels % self.sizes == 0 and panels // self.sizes <= MOST_ROWS:
            return self.sizes
        return 2 if panels == 4 else min(panels, most)


def choose(summary: pd.DataFrame, most: int) -> Chosen:
    """Return at most ``most`` runs of a summary.

    Where there are more, the first seed of each; if that is not enough, the smallest and the largest cache;
    then the smallest; then the first ones.
    """
    groups = group(summary)
    runs, left_to = _sorted(groups), list[str]()
    by_panel = runs.groupby(PANEL)[SIZE]
    smallest, largest = by_panel.transform("min"), by_panel.transform("max")
    rules = {
        "first seed": ~runs.duplicated(CELL),
        "smallest and largest cache": runs[SIZE].eq(smallest) | runs[SIZE].eq(largest),
        "smallest cache": runs[SIZE].eq(smallest),
    }
    for words, kept in rules.items():
        fewer = runs[kept[runs.index]]
        if len(runs) > most and len(fewer) < len(runs):
            left_to = [*(word for word in left_to if "cache" not in word), words]
            runs = fewer
    if len(runs) > most:
        runs, left_to = runs.head(most), [*left_to, f"the first {most}"]
    runs = runs.assign(_again=runs.duplicated(CELL, keep=False))
    sizes = sorted(set(runs[SIZE]))
    if left_to and groups.axis and len(sizes) == 1:
        left_to.append(size_title(groups.axis, sizes[0]))
    titles = {int(row["run"]): _parts(groups, row, sized=len(sizes) > 1) for _, row in runs.iterrows()}
    return Chosen(
        titles,
        sizes=len(sizes),
        selection=f"{len(runs)} of {len(summary)} runs ({', '.join(left_to)})" if left_to else "all runs",
        identity=runs[["run", *groups.keys]].astype({"run": int, **_bytes(groups)}).set_index("run"),
    )


def fewer(summary: pd.DataFrame, chosen: Chosen, draw: Callable[[Chosen], Figure]) -> tuple[Chosen, Figure]:
    """Return as many of the ``chosen`` runs of a summary as fit on a page, and their figure."""

    def first(most: int) -> Chosen:
        return chosen if most == len(chosen.titles) else choose(summary, most)

    most, figure = fitted(lambda most: draw(first(most)), len(chosen.titles))
    return first(most), figure


def _sorted(groups: Groups) -> pd.DataFrame:
    order = groups.runs.assign(
        **{
            PANEL: groups.runs[PANEL].map(groups.panels.index),
            SERIES: groups.runs[SERIES].map(groups.series.index),
        }
    )
    return groups.runs.loc[order.sort_values(CELL, kind="stable").index]


def _bytes(groups: Groups) -> dict[str, str]:
    """Return what makes sizes in bytes whole numbers."""
    return dict.fromkeys((name for name in CACHES if name in groups.keys), "Int64")


def _parts(groups: Groups, row: pd.Series[Any], *, sized: bool) -> list[str]:
    """Return the words that tell a run from the others of its folder."""
    parts = [str(row[PANEL]).replace("\n", ", ")] if len(groups.panels) > 1 else []
    if len(groups.series) > 1:
        parts.append(str(row[SERIES]))
    if groups.axis and sized:
        parts.append(size_title(groups.axis, float(row[SIZE])))
    return [*parts, f"run {int(float(row['run']))}"] if row["_again"] else parts


def need_columns(table: pd.DataFrame, columns: tuple[str, ...], name: str) -> None:
    """Raise InputError where ``NAME.parquet`` lacks a column."""
    for column in columns:
        if column not in table:
            raise InputError(f"{name}.parquet", f"has no column '{column}'", HINT)
