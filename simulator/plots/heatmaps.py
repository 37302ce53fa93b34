"""Heatmaps of a layer's experts by rank: layers from top to bottom, one colour scale for all panels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.plots.style import unit

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RANK = "rank_by_lookups"


def ranked(experts: pd.DataFrame) -> pd.DataFrame:
    """Return a run's experts, layer by layer, the most looked up first, with their rank in the layer from 1.

    Experts that are looked up as often stay in the order of their index.
    """
    by = experts.sort_values(["layer", "lookups", "expert"], ascending=[True, False, True])
    return by.assign(**{RANK: by.groupby("layer").cumcount() + 1}).reset_index(drop=True)


def heat(axes: Axes, rows: pd.DataFrame, metric: str, norm: Any) -> Any:
    """Draw ``metric`` of ranked experts as layer by rank, and return the image."""
    from matplotlib.ticker import MaxNLocator

    table = rows.pivot_table(index="layer", columns=RANK, values=metric, sort=True, dropna=False)
    layers, ranks = table.index.to_numpy(), table.columns.to_numpy()
    extent = (ranks[0] - 0.5, ranks[-1] + 0.5, layers[-1] + 0.5, layers[0] - 0.5)
    image = axes.imshow(
        table.to_numpy(float),
        cmap="cividis",
        norm=norm,
        extent=extent,
        aspect="auto",
        interpolation="nearest",
    )
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, prune=None, min_n_ticks=2))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=2))
    return image


def colour_bar(figure: Figure, image: Any, axes: list[Axes], label: str, ticks: Any = None) -> None:
    """Put the scale that says what colours mean at the right of the axes; ``ticks`` below 1 are fractions."""
    height = figure.get_size_inches()[1] / unit()
    shrink = min(1.0, 2.4 / height)
    bar = figure.colorbar(image, ax=axes, aspect=7 * shrink * height, shrink=shrink, pad=0.015, ticks=ticks)
    if ticks is not None:
        bar.set_ticks(ticks, labels=[f"{n:g}" if n >= 1 else f"1/{1 / n:g}" for n in ticks])
        bar.minorticks_off()
    bar.ax.tick_params(length=2)
    bar.set_label(label)


def tenth(counts: Any) -> tuple[float, float]:
    """Return how skewed a layer's counts are: share of the ceil(E / 10) highest, entropy over log E.

    NaN where nothing is counted; one expert alone has no entropy to be compared with.
    """
    total = counts.sum()
    if not total:
        return np.nan, np.nan
    shares = np.sort(counts / total)[::-1]
    some = shares[shares > 0]
    entropy = -(some * np.log(some)).sum() / np.log(len(shares)) if len(shares) > 1 else np.nan
    return float(shares[: -(-len(shares) // 10)].sum()), float(entropy)
