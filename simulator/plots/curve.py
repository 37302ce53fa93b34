"""Hit rate against the size of the cache, a line for each policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from simulator.errors import InputError, did_you_mean
from simulator.plots.save import FORMATS, render, write
from simulator.plots.style import COLOURS, styled

GIB = 2**30


def draw(curves: Mapping[str, Sequence[tuple[int, float]]], unit: str, out: Path) -> None:
    """Draw (capacity, hit rate) of each policy into a file; ``unit`` is bytes or experts.

    Errors: InputError (an unknown form).
    """
    from matplotlib import pyplot as plt

    form = out.suffix.removeprefix(".")
    if form not in FORMATS:
        raise InputError(f"--figure {out}", f"unknown format ({form!r})", did_you_mean(form, FORMATS))
    with styled("paper"):
        figure, axes = plt.subplots(layout="constrained")
        for place, (policy, points) in enumerate(curves.items()):
            sizes = [capacity / (GIB if unit == "bytes" else 1) for capacity, _ in points]
            bound = policy == "belady"
            axes.plot(
                sizes,
                [rate for _, rate in points],
                label=f"{policy} (knows the future)" if bound else policy,
                color="black" if bound else COLOURS[place % len(COLOURS)],
                linestyle="--" if bound else "-",
                marker="o" if len(points) <= 12 else "",
                markersize=3,
            )
        axes.set_xlabel("cache (GiB)" if unit == "bytes" else "cache (experts)")
        axes.set_ylabel("hit rate, all lookups")
        axes.set_ylim(0, 1)
        axes.set_xlim(left=0)
        axes.legend(loc="lower right")
        data = render(figure, form)
    write(out.parent, {out.name: data})
