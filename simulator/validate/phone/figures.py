"""Figures of the phone's validation: predicted against measured, and residuals over time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from simulator.plots.save import render
from simulator.plots.style import COLOURS, PAGE, legend, panels, paper

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMS = ("pdf", "png")
LOOKS = {"simulated": ("o", COLOURS[0]), "line": ("x", COLOURS[1])}  # who tells stalls on their own
PANEL = 2.2
TOKENS = re.compile(r" [0-9]+-[0-9]+( \(fitted on\))?$")  # of a part, behind the run's name
Tables = Mapping[str, Mapping[str, pd.DataFrame]]
"""By the title of a part, then by predictor: the rows of its tokens."""


def draw(tables: Tables) -> dict[str, bytes]:
    """Return the figures' files by name."""
    files: dict[str, bytes] = {}
    with paper():
        for name, figure in (("predicted-measured", _scatter(tables)), ("residuals", _residuals(tables))):
            files |= {f"{name}.{form}": render(figure, form) for form in FORMS}
    return files


def _scatter(tables: Tables) -> Figure:
    figure, axes = panels(len(tables), min(3, len(tables)), PAGE, PANEL)
    handles: dict[str, Any] = {}
    for axis, (title, predictions) in zip(axes, tables.items(), strict=True):
        largest = 0.0
        for predictor, (marker, colour) in LOOKS.items():
            if predictor not in predictions:
                continue
            table = predictions[predictor]
            measured, predicted = table["measured_stall_ms"], table["predicted_stall_ms"]
            handles[predictor] = axis.scatter(
                measured, predicted, s=9, marker=marker, color=colour, linewidths=0.7, alpha=0.8
            )
            largest = max(largest, measured.max(), predicted.max())
        handles["equal"] = axis.plot((0, largest), (0, largest), color="black", linewidth=0.6)[0]
        axis.set(title=title, xlabel="measured stall, ms", ylabel="predicted stall, ms")
    legend(figure, handles)
    return figure


def _residuals(tables: Tables) -> Figure:
    runs: dict[str, list[pd.DataFrame]] = {}
    for title, predictions in tables.items():
        runs.setdefault(TOKENS.sub("", title), []).append(predictions["simulated"])
    figure, axes = panels(2 * len(runs), len(runs), PAGE, PANEL * 0.8)
    handles: dict[str, Any] = {}
    for column, (run, parts) in enumerate(runs.items()):
        table = pd.concat(parts)
        upper, lower = axes[column], axes[column + len(runs)]
        for name, look in (("stall", 0), ("mgmt", 2)):
            told = table[table[f"measured_{name}_ms"] > 0]
            error = told[f"predicted_{name}_ms"] / told[f"measured_{name}_ms"] - 1
            label = {"mgmt": "management"}.get(name, name)
            handles[label] = upper.plot(told["token"], 100 * error, ".", color=COLOURS[look], markersize=3)[0]
        upper.axhline(0, color="black", linewidth=0.6)
        upper.set(title=run, ylabel="error, %")
        handles["recorded compute"] = lower.plot(
            table["token"], table["measured_compute_ms"], color=COLOURS[3], linewidth=0.8
        )[0]
        handles["fitted compute"] = lower.plot(
            table["token"], table["predicted_compute_ms"], color="black", linewidth=0.8, linestyle="--"
        )[0]
        lower.set(xlabel="decoded token", ylabel="compute, ms", yscale="log")
        for formatted in (lower.yaxis.set_major_formatter, lower.yaxis.set_minor_formatter):
            formatted(lambda ms, _: f"{ms:g}" if f"{ms:g}"[0] in "125" else "")
        if len(parts) > 1:
            for axis in (upper, lower):
                axis.axvline(parts[0]["token"].iloc[-1] + 0.5, color="grey", linewidth=0.6, linestyle=":")
                axis.set_xlim(0, np.max(table["token"]) + 1)
    legend(figure, handles)
    return figure
