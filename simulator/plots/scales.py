"""One scale for panels that show the same quantity, or a word that they differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FLAT = 4
"""How many times as high as another a panel may be before that one would be drawn flat."""


def comparable(highest: Sequence[float]) -> bool:
    """Return whether panels that are so high can share a scale, and none of them becomes flat by it."""
    return max(highest) <= FLAT * min(highest)


def one_scale(all_axes: Sequence[Axes], which: Literal["x", "y"], label: str) -> None:
    """Give panels the scale of the highest and their ``label``; or each keeps its own, which the label says.

    Their limits are set before, and begin at the same value.
    """
    ends = [axes.get_xlim() if which == "x" else axes.get_ylim() for axes in all_axes]
    highest = [high for axes, (_, high) in zip(all_axes, ends, strict=True) if axes.has_data()] or [1.0]
    shared = comparable(highest)
    for axes, (low, high) in zip(all_axes, ends, strict=True):
        end = max(highest) if shared else high
        axes.set(**{f"{which}lim": (low, end), f"{which}label": label if shared else f"{label}\n(own scale)"})
