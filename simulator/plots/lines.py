"""Lines over the cache size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.analysis.sizes import SizeAxis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_TICKS = 7


def size_title(axis: SizeAxis, size: float, *, short: bool = False) -> str:
    """Return what a panel at one size is called; a share is one of experts, which goes without saying."""
    return axis.title(size, short=short).removesuffix(" of experts")


def size_scale(axes: Axes, axis: SizeAxis | None, sizes: list[float]) -> None:
    """Label the horizontal axis with the sizes that were run; in powers of two where they span 16-fold."""
    from matplotlib.ticker import FixedLocator, NullLocator

    axes.set_xlabel(axis.label if axis else "")
    if len(sizes) > 1 and sizes[0] > 0 and sizes[-1] / sizes[0] >= 16:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_minor_locator(NullLocator())
        apart = 1.0
    else:
        apart = (sizes[-1] - sizes[0]) / MOST_TICKS
    ticks: list[float] = []
    for size in reversed(sizes):
        near = ticks and (ticks[-1] / size < 1.6 if axes.get_xscale() == "log" else ticks[-1] - size < apart)
        if not near:
            ticks.append(size)
    axes.xaxis.set_major_locator(FixedLocator(ticks[::-1]))
    axes.xaxis.set_major_formatter(lambda size, _: axis.text(size) if axis else f"{size:g}")
