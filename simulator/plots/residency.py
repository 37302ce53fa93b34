"""Which experts the top cache held, and for how long: layer by rank of popularity, a panel a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.plots.chosen import Chosen, choose, fewer, need_columns
from simulator.plots.heatmaps import colour_bar, heat, ranked
from simulator.plots.notes import note, titles
from simulator.plots.style import COLUMN, PAGE, nothing, panels

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

NEEDS = ("run", "system")
COLUMNS = ("run", "layer", "expert", "lookups", "resident_steps", "resident_low_steps", "steps")
MOST_RUNS = 12
MAIN, LOW = "resident_percent", "resident_low_percent"
VERSIONS = {MAIN: "main precision", LOW: "lower precision"}


def plot(summary: pd.DataFrame, experts: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the data that it shows: a row per run, layer and expert, in per cent.

    A run has a second panel where lower precisions were resident too. Errors: InputError on a foreign table.
    """
    import pandas as pd

    need_columns(experts, COLUMNS, "experts")
    present = summary[summary["run"].isin(set(experts["run"]))]
    if present.empty:
        figure, all_axes = panels(1, 1, COLUMN, 1.2)
        nothing(all_axes[0], "experts")
        return figure, pd.DataFrame(columns=[*COLUMNS, MAIN, LOW])
    some = choose(present, MOST_RUNS)
    steps = experts["steps"].where(experts["steps"] > 0)
    shares = {MAIN: experts["resident_steps"] / steps, LOW: experts["resident_low_steps"] / steps}
    experts = experts.assign(**{name: 100 * share for name, share in shares.items()})
    found = {run: ranked(experts[experts["run"] == run]) for run in some.titles}
    chosen, figure = fewer(present, some, lambda fewer: _draw(fewer, found))
    parts = [found[run] for run in chosen.titles]
    data = chosen.identity.merge(pd.concat(parts), left_index=True, right_on="run")
    data.insert(0, "selection", chosen.selection)
    return figure, data


def _draw(chosen: Chosen, parts: dict[int, pd.DataFrame]) -> Figure:
    from matplotlib.colors import Normalize

    cells = [
        (run, name) for run in chosen.titles for name in (MAIN, LOW) if name == MAIN or parts[run][LOW].any()
    ]
    n = len(cells)
    several = n > len(chosen.titles)
    columns = 4 if several and n > 4 else chosen.columns(n, 3)
    words = [
        "\n".join([*chosen.titles[run], *([VERSIONS[name]] if parts[run][LOW].any() else [])])
        for run, name in cells
    ]
    figure, all_axes = panels(n, columns, COLUMN if n == 1 else PAGE, 1.1 if n > columns else 1.7)
    titles(figure, all_axes, columns, words, 0.95)
    for index, (axes, (run, name)) in enumerate(zip(all_axes, cells, strict=True)):
        image = heat(axes, parts[run], name, Normalize(0, 100))
        axes.set_ylabel("MoE layer" if index % columns == 0 else "")
        axes.set_xlabel("rank by lookups" if index + columns >= n else "")
    colour_bar(figure, image, all_axes, "in cache (% of steps)")
    note(figure, chosen.note)
    return figure
