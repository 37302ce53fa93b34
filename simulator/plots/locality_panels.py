"""The panels of the locality figures: which rows of locality.csv each shows, and how it draws them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from simulator.plots.style import line

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

BASELINES = {
    "reuse": "recorded",
    "reuse_shuffled_in_sequence": "shuffled in sequence",
    "reuse_shuffled": "shuffled",
    "reuse_uniform": "uniform",
}
PLAIN = {"marker": "none"}
BAND: dict[str, Any] = {"alpha": 0.22, "linewidth": 0}
PAPER: dict[str, Any] = {"color": "black", "marker": "_", "markersize": 9, "linestyle": "none", "capsize": 0}


def reuse(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw reuse by lag with its baselines."""
    for index, (statistic, name) in enumerate(BASELINES.items()):
        own = rows[rows["statistic"] == statistic]
        look = line(index) | PLAIN | {"linestyle": ("-", "--", "-.", ":")[index]}
        axes.plot(own["lag"], 100 * own["value"], label=name, **look)
        axes.fill_between(own["lag"], 100 * own["low"], 100 * own["high"], color=look["color"], **BAND)
    _finish(axes, "lag (tokens)", "experts used again (%)", columns=2)


def srp(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw SRP by m, and the published values where there are some."""
    _interval(axes, rows[rows["statistic"] == "srp"], "this trace", line(0))
    _published(axes, rows[rows["statistic"] == "srp_published"])
    _segments(axes, rows)
    _finish(axes, "segment m (tokens)", "SRP (%)")


def sch(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw SCH by m, a line for each cache size, and the published values where there are some."""
    for index, (rho, own) in enumerate(rows[rows["statistic"] == "sch"].groupby("rho")):
        _interval(axes, own, f"\N{GREEK SMALL LETTER RHO} = {rho:g}", line(index))
    _published(axes, rows[rows["statistic"] == "sch_published"])
    _segments(axes, rows)
    _finish(
        axes, "tokens known ahead m", "SCH (%)", columns=3 if "sch_published" in set(rows["statistic"]) else 4
    )


def lru(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw LRU's hit rate by cache size, and the span of the layers."""
    mean = rows[rows["layer"].isna()]
    layers = rows[rows["layer"].notna()].groupby("size")["value"].agg(["min", "max"])
    axes.plot(mean["size"], 100 * mean["value"], label="mean", **line(0) | PLAIN)
    span = axes.fill_between(layers.index, 100 * layers["min"], 100 * layers["max"], color="#0072B2", **BAND)
    span.set_label("span of layers")
    twice = 2 * rows["size"].min()
    axes.axvline(twice, color="black", linestyle=":", linewidth=0.8, label=f"2k = {twice:g}")
    _finish(axes, "cache (experts a layer)", "LRU hit rate (%)", columns=3)


def next_layer(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw how well a layer's experts are foretold by the layer before, and by popularity."""
    names = {"next_layer": "by the layer before", "next_layer_popularity": "by popularity"}
    _by_layer(axes, rows, names, "experts foretold (%)")


def predictions(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw the accuracy of recorded predictions by distance, and the span of the layers."""
    mean = rows[rows["layer"].isna()]
    layers = rows[rows["layer"].notna()].groupby("distance")["value"].agg(["min", "max"])
    axes.plot(mean["distance"], 100 * mean["value"], label="mean", **line(0))
    down, up = (
        100 * (mean["value"].to_numpy() - layers["min"]),
        100 * (layers["max"] - mean["value"].to_numpy()),
    )
    bars: dict[str, Any] = {"fmt": "none", "ecolor": line(0)["color"], "label": "span of layers"}
    axes.errorbar(layers.index, 100 * mean["value"], [down, up], **bars)
    axes.set_xticks(mean["distance"])
    _finish(axes, "layers ahead", "gate predictions right (%)", columns=2)


def popularity(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw entropy and the share of the most used tenth by layer."""
    _by_layer(axes, rows, {"entropy": "entropy / log E", "top_share": "top tenth's uses"}, "share (%)")


@dataclass(frozen=True, slots=True)
class Panel:
    """What is drawn of which statistics: their rows over ``all`` layers, of ``each`` layer, or ``both``."""

    statistics: tuple[str, ...]
    layers: Literal["all", "each", "both"]
    draw: Callable[[Axes, pd.DataFrame], None]

    def rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of the table that the panel shows; those without a number are left out."""
        over_all = table["layer"].isna()
        wanted = {"all": over_all, "each": ~over_all, "both": over_all | ~over_all}[self.layers]
        shown = table["value"].notna() | table["low"].notna()
        return table[table["statistic"].isin(self.statistics) & wanted & shown]


PANELS = {
    "reuse": Panel(tuple(BASELINES), "all", reuse),
    "lru": Panel(("lru_hit_rate",), "both", lru),
    "srp": Panel(("srp", "srp_published"), "all", srp),
    "sch": Panel(("sch", "sch_published"), "all", sch),
    "next-layer": Panel(("next_layer", "next_layer_popularity"), "each", next_layer),
    "popularity": Panel(("entropy", "top_share"), "each", popularity),
    "predictions": Panel(("prediction_accuracy",), "both", predictions),
}


def _by_layer(axes: Axes, rows: pd.DataFrame, names: dict[str, str], label: str) -> None:
    from matplotlib.ticker import MaxNLocator

    for index, (statistic, name) in enumerate(names.items()):
        own = rows[rows["statistic"] == statistic]
        axes.plot(own["layer"], 100 * own["value"], label=name, **line(index))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _finish(axes, "MoE layer", label, columns=2)


def _interval(axes: Axes, own: pd.DataFrame, name: str, look: dict[str, Any]) -> None:
    drawn = axes.plot(own["m"], 100 * own["value"], label=name, **look)
    axes.vlines(own["m"], 100 * own["low"], 100 * own["high"], color=drawn[0].get_color(), linewidth=0.8)


def _published(axes: Axes, own: pd.DataFrame) -> None:
    if len(own):
        rho = own["rho"].iloc[0]
        name = "paper" if math.isnan(rho) else f"paper, \N{GREEK SMALL LETTER RHO} = {rho:g}"
        middle, half = 50 * (own["low"] + own["high"]), 50 * (own["high"] - own["low"])
        axes.errorbar(own["m"], middle, half, label=name, **PAPER)


def _segments(axes: Axes, rows: pd.DataFrame) -> None:
    """Label the segment lengths that are drawn, in powers of two."""
    from matplotlib.ticker import NullLocator

    axes.set_xscale("log", base=2)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(sorted(set(rows["m"])))
    axes.xaxis.set_major_formatter(lambda m, _: f"{m:g}")
    axes.set_xlim(rows["m"].min() / 1.5, rows["m"].max() * 1.5)


def _finish(axes: Axes, across: str, up: str, columns: int = 2) -> None:
    """Label axes that begin at 0 %, and put their legend above them."""
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.set_ylim(0, min(102, 1.04 * axes.get_ylim()[1]))
    axes.grid(visible=True, axis="y")
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (-0.02, 1.0), "borderaxespad": 0.0}
    axes.legend(ncols=columns, handlelength=1.6, columnspacing=0.9, handletextpad=0.4, **place)
