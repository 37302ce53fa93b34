"""How busy links and compute are over a run's time: a panel a run, a strip from 0 to 100 % for each resource.

A pass's busy time is spread evenly over it, since the table says no more; a strip's mean stands beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.analysis.labels import LINKS
from simulator.plots.chosen import Chosen, choose, fewer, need_columns
from simulator.plots.notes import note, titles
from simulator.plots.style import COLOURS, COLUMN, PAGE, legend, nothing, panels, small, unit

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NEEDS = ("run", "system")
COLUMNS = ("run", "pass", "phase", "start_ns", "latency_ns", "dense_ns", "expert_compute_ns", "busy_cpu_ns")
MAIN, HELPER, PREFILL, END = "main_unit", "cpu_helper", "prefill", "_busy_percent"
# Each keeps its colour in every figure, whichever others are there.
ORDER = (MAIN, HELPER, "cpu_to_gpu", "ssd_to_cpu", "ssd_to_gpu", "gpu_to_cpu")
MOST_RUNS, MOST_BINS = 12, 120
IDLE = 1  # per cent of a run's time, up to which a resource has no strip
STRIP, HEIGHT = 0.26, 0.8  # inches between strips; how much of that is 100 %


def plot(summary: pd.DataFrame, tokens: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the data that it shows: a row per run and bin of time, in per cent of the bin.

    Errors: InputError where the table lacks busy times.
    """
    import pandas as pd

    need_columns(tokens, COLUMNS, "tokens")
    tokens = tokens[tokens["latency_ns"] > 0]
    present = summary[summary["run"].isin(set(tokens["run"]))]
    if present.empty:
        figure, all_axes = panels(1, 1, COLUMN, 1.2)
        nothing(all_axes[0], "passes")
        return figure, pd.DataFrame(columns=["run", "bin_start_ms", "bin_end_ms"])
    some = choose(present, MOST_RUNS)
    found = {run: utilisation(tokens[tokens["run"] == run]) for run in some.titles}
    strips, idle = _strips(found)
    chosen, figure = fewer(present, some, lambda fewer: _draw(fewer, found, strips, idle))
    parts = {run: found[run] for run in chosen.titles}
    data = pd.concat(parts, names=["run", "bin"]).reset_index()
    data = chosen.identity.merge(data, left_index=True, right_on="run")
    data.insert(0, "selection", chosen.selection)
    return figure, data


def utilisation(rows: pd.DataFrame, bins: int = MOST_BINS) -> pd.DataFrame:
    """Return a run's bins of equal width: their ends in ms, and the busy share of each resource in per cent.

    ``rows`` is its part of the table, in which a batch's pass stands once for each of its sequences. A link
    that the run has not is NaN; ``prefill_percent`` is the share of time in passes that decode nothing.
    """
    import pandas as pd

    prefill = rows["phase"].eq("prefill").groupby(rows["pass"]).all()
    passes = rows.drop_duplicates("pass").sort_values("start_ns")
    starts, lengths = passes["start_ns"].to_numpy(float), passes["latency_ns"].to_numpy(float)
    links = [name for name in map(str, passes) if name.startswith("busy_") and name != "busy_cpu_ns"]
    busy = {
        MAIN: passes["dense_ns"] + passes["expert_compute_ns"],
        HELPER: passes["busy_cpu_ns"],
        **{name.removeprefix("busy_").removesuffix("_ns"): passes[name] for name in links},
        PREFILL: lengths * prefill[passes["pass"]].to_numpy(float),
    }
    edges = np.linspace(starts[0], (starts + lengths).max(), bins + 1)
    width = (edges[-1] - edges[0]) / bins
    shares = {
        name: 100 * _spread(starts, lengths, np.asarray(ns, float), edges) / width
        if width
        else np.zeros(bins)
        for name, ns in busy.items()
    }
    prompts = shares.pop(PREFILL)
    return pd.DataFrame(
        {"bin_start_ms": edges[:-1] / 1e6, "bin_end_ms": edges[1:] / 1e6}
        | {name + END: share for name, share in shares.items()}
        | {"prefill_percent": prompts}
    )


def _spread(starts: Any, lengths: Any, busy: Any, edges: Any) -> Any:
    """Return the busy time within each bin [bins], where each pass is as busy throughout."""
    ends, after = starts + lengths, np.cumsum(busy)
    times = np.stack([starts, ends], axis=1).ravel()
    until = np.stack([after - busy, after], axis=1).ravel()
    return np.diff(np.interp(edges, times, until))


def _draw(chosen: Chosen, found: dict[int, pd.DataFrame], strips: dict[str, str], idle: str) -> Figure:
    parts = {run: found[run] for run in chosen.titles}
    n = len(parts)
    columns = chosen.columns(n, 3)
    height = 0.26 + STRIP * len(strips) + 0.16 / -(-n // columns)
    figure, all_axes = panels(n, columns, COLUMN if n == 1 else PAGE, height, sharey=True)
    titles(figure, all_axes, columns, ["\n".join(words) for words in chosen.titles.values()], 0.9)
    longest = max(bins["bin_end_ms"].max() for bins in parts.values())
    time, ms = ("s", 1000.0) if longest >= 1000 else ("ms", 1.0)
    handles: dict[str, Any] = {}
    for index, (axes, bins) in enumerate(zip(all_axes, parts.values(), strict=True)):
        _panel(axes, bins, strips, ms, handles)
        axes.set_xlabel(f"simulated time ({time})" if index + columns >= n else "")
    if handles:
        legend(figure, handles)
    words = "Each strip: share of time busy, 0 to 100 %; at its right the mean."
    note(figure, " ".join(filter(None, [words, idle, chosen.note])))
    return figure


def _strips(parts: dict[int, pd.DataFrame]) -> tuple[dict[str, str], str]:
    """Return the resources to draw, with their names, and what to say of those that are idle in every run."""
    names = {MAIN: "main unit", HELPER: "CPU helper"}
    for resource in ORDER[len(names) :]:
        names[resource] = " to ".join(LINKS[end] for end in resource.split("_to_"))
    busiest = {
        resource: max(
            float(np.nan_to_num(bins.get(resource + END, np.zeros(1))).mean()) for bins in parts.values()
        )
        for resource in names
    }
    used = [resource for resource, share in busiest.items() if share > IDLE] or [MAIN]
    idle = [names[resource] for resource, share in busiest.items() if share > 0 and resource not in used]
    words = f"Busy for at most {IDLE} % of any run, so not shown: {', '.join(idle)}." if idle else ""
    return {resource + END: names[resource] for resource in used}, words


def _panel(
    axes: Axes, bins: pd.DataFrame, strips: dict[str, str], ms: float, handles: dict[str, Any]
) -> None:
    """Draw a run's strips; ``ms`` is how many of them the axis counts as one."""
    from matplotlib.patches import Patch

    edges = np.append(bins["bin_start_ms"], bins["bin_end_ms"].iloc[-1]) / ms
    prefill = bins["prefill_percent"].to_numpy(float)
    if 0 < prefill.mean() < 100 * (1 - 1e-9):
        extent = (edges[0], edges[-1], 0.0, float(len(strips)))
        axes.imshow(prefill[None], cmap="Greys", vmin=0, vmax=400, extent=extent, aspect="auto")
        handles.setdefault("prompt passes", Patch(facecolor="0.85"))
    for index, column in enumerate(strips):
        base = len(strips) - 1 - index
        share = bins.get(column)
        if share is None or share.isna().all():
            axes.text(edges[0], base + HEIGHT / 2, " none", va="center", fontsize=small())
            continue
        colour = COLOURS[ORDER.index(column.removesuffix(END)) % len(COLOURS)]
        axes.stairs(base + HEIGHT / 100 * share, edges, baseline=base, fill=True, color=colour, linewidth=0)
        axes.stairs(base + HEIGHT / 100 * share, edges, baseline=None, color="black", linewidth=0.4 * unit())
        axes.hlines([base, base + HEIGHT], edges[0], edges[-1], color="0.6", linewidth=0.4 * unit(), zorder=3)
        place = (edges[-1], base + HEIGHT / 2), (2 * unit(), 0)
        look: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": small()}
        axes.annotate(f"{share.mean():.0f} %", *place, **look)
    axes.set_yticks([len(strips) - 1 - i + HEIGHT / 2 for i in range(len(strips))], list(strips.values()))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_ylim(-0.08, len(strips) - 0.1)
    axes.set_xlim(edges[0], edges[-1])
    axes.locator_params(axis="x", nbins=4)
