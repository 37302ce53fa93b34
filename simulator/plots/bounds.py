"""Belady's bound over the cache size: one curve, or several where systems partition the cache differently."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.analysis.groups import MODIFIED, SERIES, SIZE
from simulator.plots.style import unit

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

DASHES: tuple[Any, ...] = ((0, (4, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)))
SAME = 5e-5  # of the hit rate: curves closer than this are one
Curve = tuple[dict[float, float], list[str]]


def bound_name(data: pd.DataFrame, metric: str, name: str) -> str:
    """Return ``name`` with the systems, or else the series, that have no bound: those of mixed precisions."""
    systems = data["system"].str.removesuffix(MODIFIED)
    lacking = ~data[metric].notna().groupby(data[SERIES]).transform("any")
    whole = not set(systems[lacking]) & set(systems[~lacking])
    without = list(dict.fromkeys((systems if whole else data[SERIES])[lacking]))
    return f"{name} (not of {_listed(without)})" if without else name


def draw_bounds(
    axes: Axes, part: pd.DataFrame, data: pd.DataFrame, metric: str, name: str, handles: dict[str, Any]
) -> None:
    """Draw the bounds of ``part``, a panel of ``data``, in per cent, black; add them to ``handles``.

    Up to three different curves have dashes of their own and say whom they bound; more are a grey band,
    lowest to highest.
    """
    curves = _curves(part[part[metric].notna()], metric)
    if len(curves) > len(DASHES):
        by = part.groupby(SIZE)[metric]
        low, high = 100 * by.min().dropna(), 100 * by.max().dropna()
        look = {"facecolor": "0.85", "edgecolor": "black", "linestyle": DASHES[0], "linewidth": 0.8 * unit()}
        drawn: Any = axes.fill_between(low.index, low, high, zorder=0.9, **look)
        handles.setdefault(bound_name(data, metric, f"{name}, range over systems"), drawn)
        return
    largest = max((names for _, names in curves), key=len, default=[])
    for (curve, names), dash in zip(curves, DASHES, strict=False):
        others = bound_name(data, metric, f"{name}, other systems")
        who = others if names is largest and len(names) > 1 else f"{name}, {_listed(names)}"
        sizes = sorted(curve)
        look = {
            "color": "black",
            "linestyle": dash,
            "linewidth": 1.3 * unit(),
            "marker": "_" if len(sizes) == 1 else "",
        }
        drawn = axes.plot(sizes, [100 * curve[size] for size in sizes], zorder=1.9, **look)[0]
        handles.setdefault(bound_name(data, metric, name) if len(curves) == 1 else who, drawn)


def _listed(names: list[str]) -> str:
    return ", ".join(names) if len(names) < 3 else f"{names[0]} and {len(names) - 1} more"


def _curves(part: pd.DataFrame, metric: str) -> list[Curve]:
    """Return the different curves, each with the series that it bounds."""
    curves: list[Curve] = []
    for series, own in part.groupby(SERIES, sort=False):
        points = dict(zip(own[SIZE], own[metric], strict=True))
        for curve, names in curves:
            if all(abs(curve.get(size, rate) - rate) < SAME for size, rate in points.items()):
                curve.update(points)
                names.append(str(series))
                break
        else:
            curves.append((points, [str(series)]))
    return curves
