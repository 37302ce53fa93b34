"""What a reader of speed-ups must be told: over whom they are, and what is not there, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.analysis.baseline import SPEED_UP, WHERE
from simulator.analysis.groups import FOLDER, PANEL, Groups
from simulator.analysis.paired import APART, FEWEST, SHARED

if TYPE_CHECKING:
    import pandas as pd

    from simulator.errors import InputError


def remarks(data: pd.DataFrame, groups: Groups, names: dict[str, str]) -> list[str]:
    """Return over whom speed-ups are, where there is none, and where no interval, and why: a line each.

    ``names`` has the baseline of each panel.
    """
    lines = []
    if len(set(names.values())) > 1:
        over = [f"{name} in {' and '.join(where)}" for name, where in _places(groups, names).items()]
        lines.append(f"Speed-ups are over {', over '.join(over)}.")
    why = data[f"{SPEED_UP}_why"]
    empty = why.eq("no baseline").groupby(data[PANEL], sort=False).all()
    lacking = {str(panel): names[str(panel)] for panel in empty.index[empty]}
    for name, where in _places(groups, lacking).items():
        lines.append(f"No speed-up in {' and '.join(where)}: no run is of {name}.")
    if why.eq(APART).any():
        lines.append("No speed-up where a run and its baseline decoded no sequence in common.")
    if (why.eq("one sequence") | why.str.startswith("only ")).any():
        lines.append(f"No interval where fewer than {FEWEST} sequences were replayed: too few to tell.")
    if why.str.startswith(SHARED).any():
        lines.append(
            "No interval where sequences share passes, as in a batch: their times are not independent, and "
            f"there are fewer than {FEWEST} groups of them that share none."
        )
    return lines


def _places(groups: Groups, names: dict[str, str]) -> dict[str, list[str]]:
    """Return for each of the names the folders whose panels all have it, else the panels."""
    found: dict[str, list[str]] = {}
    for folder, runs in groups.runs.groupby(FOLDER, sort=False):
        panels = {str(panel): names.get(str(panel)) for panel in dict.fromkeys(runs[PANEL])}
        own = set(panels.values())
        for panel, name in ({str(folder): own.pop()} if len(own) == 1 else panels).items():
            if name is not None:
                found.setdefault(name, []).append(panel.replace("\n", ", "))
    return found


def said(error: InputError) -> str:
    """Return what is wrong, and in which file if it is one."""
    return error.what if error.where == WHERE else f"{error.where}: {error.what}"
