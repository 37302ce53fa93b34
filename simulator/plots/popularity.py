"""How unevenly a layer's experts are looked up: layer by rank, a panel for each recording."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.plots.chosen import need_columns
from simulator.plots.heatmaps import RANK, colour_bar, heat, ranked, tenth
from simulator.plots.notes import note, titles
from simulator.plots.style import COLUMN, PAGE, fitted, legend, line, nothing, panels, unit

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NEEDS = ("run", "model", "trace")
COLUMNS = ("run", "layer", "expert", "lookups")
MOST = 8
RELATIVE, TENTH, ENTROPY = "lookups_relative_to_uniform", "most_looked_up_tenth_percent", "entropy_percent"
SKEW = {TENTH: "lookups of the most looked-up tenth", ENTROPY: "entropy (100 %: even)"}


def plot(summary: pd.DataFrame, experts: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the data that it shows: a row per recording, layer and expert.

    Runs of one model and trace with the same lookups are one panel. Errors: InputError on a foreign table.
    """
    import pandas as pd

    need_columns(experts, COLUMNS, "experts")
    recordings = _distinct(summary, experts)
    if not recordings:
        figure, all_axes = panels(1, 1, COLUMN, 1.2)
        nothing(all_axes[0], "lookups")
        return figure, pd.DataFrame(columns=["model", "trace", *COLUMNS[1:]])
    n, figure = fitted(lambda n: _first(recordings, n), min(MOST, len(recordings)))
    data = pd.concat([part.assign(**who) for who, _, part in recordings[:n]])
    first = ["model", "trace", "runs", "layer", RANK, "expert", "lookups"]
    return figure, data[[*first, "share_percent", RELATIVE, TENTH, ENTROPY]].reset_index(drop=True)


Recording = tuple[dict[str, str], str, "pd.DataFrame"]
"""What names it in the CSV and in its title, and its experts."""


def _first(recordings: list[Recording], n: int) -> Figure:
    figure = _draw([(name, part) for _, name, part in recordings[:n]])
    less = f"Shown: the first {n} of {len(recordings)} different demands."
    note(figure, less if n < len(recordings) else "")
    return figure


def _distinct(summary: pd.DataFrame, experts: pd.DataFrame) -> list[Recording]:
    """Return each model and trace with its experts; several times where its runs' lookups differ."""
    tables = {run: part for run, part in experts.groupby("run") if part["lookups"].any()}
    seen: dict[tuple[str, str], dict[bytes, list[int]]] = {}
    for run, model, trace in zip(summary["run"], summary["model"], summary["trace"], strict=True):
        if run in tables:
            part = tables[run].sort_values(["layer", "expert"])
            seen.setdefault((model, trace), {}).setdefault(part["lookups"].to_numpy().tobytes(), []).append(
                int(run)
            )
    several = {place: len({who[place] for who in seen}) > 1 for place in (0, 1)}
    found = []
    for who, demands in seen.items():
        for runs in demands.values():
            text = "runs " + _ranges(runs) if len(runs) > 1 else f"run {runs[0]}"
            parts = [who[place] for place in (0, 1) if several[place]] + ([text] if len(demands) > 1 else [])
            named = {"model": who[0], "trace": who[1], "runs": _ranges(runs)}
            found.append((named, ", ".join(parts), _measured(tables[runs[0]])))
    return found


def _ranges(runs: list[int]) -> str:
    """Return numbers in words: 0 to 3, 7."""
    starts = [n for n in runs if n - 1 not in runs]
    ends = [n for n in runs if n + 1 not in runs]
    return ", ".join(f"{a}" if a == b else f"{a} to {b}" for a, b in zip(starts, ends, strict=True))


def _measured(experts: pd.DataFrame) -> pd.DataFrame:
    rows = ranked(experts)
    by = rows.groupby("layer")["lookups"]
    share = rows["lookups"] / by.transform("sum").replace(0, np.nan)
    skew = {layer: tenth(counts.to_numpy(float)) for layer, counts in by}
    columns = {
        name: 100 * rows["layer"].map({layer: values[i] for layer, values in skew.items()})
        for i, name in enumerate(SKEW)
    }
    return rows.assign(share_percent=100 * share, **{RELATIVE: share * by.transform("size")}, **columns)


def _draw(parts: list[tuple[str, pd.DataFrame]]) -> Figure:
    from matplotlib.colors import LogNorm

    n = len(parts)
    columns = 1 if n == 1 else 2
    figure, flat = panels(
        2 * n, 2 * columns, COLUMN if n == 1 else PAGE, 1.75, width_ratios=[2.2, 1] * columns
    )
    titles(figure, flat[::2], columns, [name for name, _ in parts], 0.65)
    highest = max(part[RELATIVE].max() for _, part in parts)
    edge = 2.0 ** max(1, np.ceil(np.log2(highest)))
    handles: dict[str, Any] = {}
    for index, (_, part) in enumerate(parts):
        heatmap, skew = flat[2 * index : 2 * index + 2]
        lowest = part.assign(**{RELATIVE: part[RELATIVE].clip(lower=1 / edge)})
        image = heat(heatmap, lowest, RELATIVE, LogNorm(1 / edge, edge))
        heatmap.set_ylabel("MoE layer" if index % columns == 0 else "")
        _skew(skew, part, handles)
        skew.set_ylim(heatmap.get_ylim())
        if index + columns >= n:
            heatmap.set_xlabel("rank by lookups")
            skew.set_xlabel("per cent")
    colour_bar(figure, image, flat, "lookups / uniform", 2.0 ** np.arange(-np.log2(edge), np.log2(edge) + 1))
    legend(figure, handles)
    return figure


def _skew(axes: Axes, part: pd.DataFrame, handles: dict[str, Any]) -> None:
    layers = part.drop_duplicates("layer")
    for index, (metric, name) in enumerate(SKEW.items()):
        look = line(index) | {"markersize": 2.5 * unit()}
        handles.setdefault(name, axes.plot(layers[metric], layers["layer"], **look)[0])
    axes.set_xlim(0, 103)
    axes.set_xticks([0, 50, 100])
    axes.tick_params(axis="y", labelleft=False)
    axes.grid(visible=True, axis="x")
