"""How tokens/s answer to each swept key, against its first value and with the others at theirs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.analysis.groups import MODIFIED, PANEL, SIZE, group
from simulator.analysis.labels import folded, words
from simulator.analysis.summary import IDENTITY, swept
from simulator.errors import InputError
from simulator.plots.bars import TITLE_WIDTH
from simulator.plots.notes import note, titles
from simulator.plots.style import COLUMN, PAGE, fitted, legend, line, nothing, panels, unit

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METRIC, CHANGE = "tokens_per_second", "tokens_per_second_change_percent"
NEEDS = ("system", METRIC)
CACHE = re.compile(r"memory\.[gc]pu_expert_cache")
NUMBER = re.compile(r"([-+]?[\d.]+(?:e[-+]?\d+)?)\s*(.*)", re.IGNORECASE)
LOG_FROM = 20  # fold; a wider span of values is shown on a logarithmic axis
TICK_WIDTH = 16  # letters


def plot(summary: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the data that it shows: a row per panel, system, key and value.

    Errors: InputError where no key but systems, models, machines, traces and cache sizes varies.
    """
    groups = group(summary)
    runs = groups.runs.assign(system=groups.runs["system"].str.removesuffix(MODIFIED))
    keys = [name for name in swept(summary) if not CACHE.match(name)]
    held = list(swept(summary))
    if groups.axis and groups.axis.source not in held:
        held.append(SIZE)
    within = runs.groupby([PANEL, "system"])
    varied = [key for key in keys if within[key].nunique().max() > 1]
    data = _changes(runs, varied, held)
    alone = [key for key in varied if (data["key"].eq(key) & data["value"].ne(data["reference"])).any()]
    if not alone:
        raise InputError(
            "summary.csv",
            "no key but systems, models, machines, traces or cache sizes varies alone in this folder",
            "sweep another key, such as workload.batch_size or policies.prefetch.depth",
        )
    data = data[data["key"].isin(alone)]
    text = _note(runs, held, [key for key in varied if key not in alone])
    cells = [(panel, key) for panel in dict.fromkeys(runs[PANEL]) for key in alone]
    _, figure = fitted(lambda n: _first(data, cells, n, text), len(cells))
    return figure, data.drop(columns=PANEL)


def _first(data: pd.DataFrame, cells: list[tuple[str, str]], n: int, text: str) -> Figure:
    figure = _draw(data, cells[:n])
    less = f" Shown: the first {n} of {len(cells)} panels. The CSV has all." if n < len(cells) else ""
    note(figure, text + less)
    return figure


def _changes(runs: pd.DataFrame, keys: list[str], held: list[str]) -> pd.DataFrame:
    """Return the mean change by each value of each key, all else that is ``held`` as at first."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for (panel, _), own in runs.groupby([PANEL, "system"], sort=False):
        first = own.iloc[0]
        for key in keys:
            others = [name for name in held if name != key]
            alike = own[(own[others] == first[others]).all(axis=1)]
            speeds = alike.groupby(key, sort=False)[METRIC].agg(["mean", "size"])
            base = speeds["mean"].get(first[key], np.nan)
            who = {PANEL: panel, **first[list(IDENTITY)]}
            for value, speed, n in zip(speeds.index, speeds["mean"], speeds["size"], strict=True):
                change = 100 * (speed / base - 1) if base else np.nan
                row = {"key": key, "value": value or "unset", "reference": first[key] or "unset"}
                rows.append(who | row | {METRIC: speed, CHANGE: change, "runs_averaged": n})
    return pd.DataFrame(rows, columns=list(rows[0]) if rows else ["key", "value", "reference"])


def _note(runs: pd.DataFrame, held: list[str], never: list[str]) -> str:
    """Return what changes are against, and what is held where other values were run too."""
    first = runs.groupby([PANEL, "system"], sort=False)[held].first()
    values = {name: set(first[name]) for name in held if name != SIZE and len(set(runs[name])) > 1}
    alike = [f"{words(name)} {next(iter(own)) or 'unset'}" for name, own in values.items() if len(own) == 1]
    listed = f" ({', '.join(alike)})" if alike else ""
    apart = f" Never varied alone: {', '.join(map(words, never))}." if never else ""
    return f"Against the first value of each key, the others at their first{listed}.{apart}"


def _draw(data: pd.DataFrame, cells: list[tuple[str, str]]) -> Figure:
    n = len(cells)
    names, keys = (list(dict.fromkeys(parts)) for parts in zip(*cells, strict=True))
    columns = 1 if n == 1 else 3 if len(keys) % 3 == 0 else 2
    systems = list(dict.fromkeys(data["system"]))
    slant = 0.5 if any(_numbers(data[data["key"] == key]["value"]) is None for key in keys) else 0.0
    height = 1.8 + slant
    figure, all_axes = panels(n, columns, COLUMN if n == 1 and len(systems) <= 8 else PAGE, height)
    titles(figure, all_axes, columns, [panel if len(names) > 1 else "" for panel, _ in cells], 0.9)
    handles: dict[str, Any] = {}
    for index, (axes, (panel, key)) in enumerate(zip(all_axes, cells, strict=True)):
        of_key = data[data["key"] == key]
        part = of_key[of_key[PANEL] == panel]
        clash = sum(words(key) == words(other) for other in keys) > 1
        _panel(
            axes, part, systems, key if clash else words(key), list(dict.fromkeys(of_key["value"])), handles
        )
        axes.set_ylabel("change of tokens/s (%)" if index % columns == 0 else "")
    if len(handles) > 1:
        legend(figure, {name: handles[name] for name in systems if name in handles})
    return figure


def _panel(
    axes: Axes, part: pd.DataFrame, systems: list[str], name: str, values: list[str], handles: dict[str, Any]
) -> None:
    """Draw one key: along its numbers, or its values in the order of the sweep."""
    found = _numbers(values)
    at = dict(zip(values, found[0] if found else range(len(values)), strict=True))
    for index, system in enumerate(systems):
        own = part[part["system"] == system]
        own = own.assign(_at=own["value"].map(at)).sort_values("_at", kind="stable")
        if len(set(own["value"])) > 1 and own[CHANGE].notna().any():
            handles.setdefault(system, axes.plot(own["_at"], own[CHANGE], **line(index))[0])
    if not axes.lines:
        nothing(axes, "another value")
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, -1.0), max(high, 1.0))
    axes.axhline(0, color="black", linewidth=0.6 * unit(), zorder=1)
    axes.grid(visible=True, axis="y")
    axes.set_xlabel(folded(f"{name} ({found[1]})" if found and found[1] else name, TITLE_WIDTH))
    if found:
        _scale(axes, sorted(set(found[0])))
    else:
        axes.set_xticks(range(len(values)), [folded(value, TICK_WIDTH) for value in values])
        axes.set_xlim(-0.3, len(values) - 0.7)
        if sum(min(TICK_WIDTH, len(value)) for value in values) > 24:
            axes.tick_params(axis="x", rotation=40)
            for label in axes.get_xticklabels():
                label.set(ha="right", rotation_mode="anchor")


def _scale(axes: Axes, numbers: list[float]) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    log = numbers[0] > 0 and numbers[-1] / numbers[0] > LOG_FROM
    if log:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_minor_locator(NullLocator())
    places = np.log(numbers) if log else np.array(numbers)
    apart = (places[-1] - places[0]) / 7
    ticks: list[int] = []
    for i in reversed(range(len(numbers))):
        if not ticks or places[ticks[-1]] - places[i] >= apart:
            ticks.append(i)
    axes.xaxis.set_major_locator(FixedLocator([numbers[i] for i in reversed(ticks)]))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _numbers(values: Any) -> tuple[list[float], str] | None:
    """Return values as numbers and their unit, which all must share; None where they are words."""
    parts = [NUMBER.fullmatch(str(value)) for value in values]
    if not all(parts) or len({part[2] for part in parts if part}) != 1:
        return None
    try:
        return [float(part[1]) for part in parts if part], next(part[2] for part in parts if part)
    except ValueError:
        return None
