"""Who is compared with whom: for each run, that of the baseline at the same point of the sweep."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from simulator.analysis.groups import FACETS, FOLDER, PANEL, SERIES, SIZE, Groups
from simulator.analysis.labels import series_name
from simulator.analysis.paired import NAN, Interval, per_sequence, speed_up
from simulator.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

SPEED_UP, WHERE = "speed_up", "speed-up"


def baseline_name(groups: Groups, asked: str | None) -> str:
    """Return the baseline: a system, or a series by its name in a legend; unasked, the first.

    Unasked, a series has no workload in its name: it is that of each workload. Errors: InputError where there
    is no such system or series.
    """
    if asked is None:
        return str(_names(groups).iloc[0])
    names = dict.fromkeys([*groups.runs["system"], *_names(groups), *groups.series])
    if asked not in names:
        raise InputError("--baseline", f"no run is of '{asked}'", did_you_mean(asked, names))
    return asked


def first_names(groups: Groups, by: str) -> dict[str, str]:
    """Return each panel's baseline where none was asked for: the first of all with the same ``by``.

    A panel that lacks that one has its own first.
    """
    found = {}
    for _, own in groups.runs.assign(_name=_names(groups)).groupby(by, sort=False):
        first = str(own["_name"].iloc[0])
        for panel, part in own.groupby(PANEL, sort=False):
            there = part["_name"].eq(first).any()
            found[str(panel)] = first if there else str(part["_name"].iloc[0])
    return found


def _names(groups: Groups) -> pd.Series[str]:
    """Return each run's name as a baseline: its system, or what tells it apart besides the workload.

    Of several folders, what counts is what varies in its own.
    """
    import pandas as pd

    found = []
    folder = groups.runs[FOLDER] if FOLDER in groups.runs else groups.runs[PANEL].str.slice(0, 0)
    for _, own in groups.runs.groupby(folder, sort=False):
        told = [key for key in groups.told if len(set(own[key])) > 1 and key not in FACETS]
        rest = [key for key in told if key != "system" and not key.startswith("workload.")]
        names = [series_name(row, rest, named=False) for row in own.to_dict("records")]
        found.append(own["system"] if "system" in told else pd.Series(names, own.index, dtype=object))
    names_of: pd.Series[str] = pd.concat(found).reindex(groups.runs.index)
    return names_of


def pairs(groups: Groups, name: str | Mapping[str, str]) -> dict[int, int]:
    """Return the number of the baseline's run for each run that has one; ``name`` may be one a panel.

    Both share model, hardware, trace, cache size, swept workload and seed; all else that was swept too, where
    the baseline has a run of that kind. Errors: InputError where several runs could be the baseline.
    """
    runs = groups.runs
    names = dict.fromkeys(groups.panels, name) if isinstance(name, str) else name
    rest = [key for key in groups.told if key not in (*FACETS, "system")]
    fixed = [PANEL, SIZE, *(key for key in rest if key.startswith("workload.")), *({"seed"} & {*runs})]
    rows: list[dict[str, Any]] = runs.to_dict("records")  # type: ignore[assignment]
    by_point = defaultdict(list)
    for row, own in zip(rows, _names(groups), strict=True):
        if names.get(row[PANEL]) in (own, row["system"], row[SERIES]):
            by_point[_cells(row, fixed)].append(row)
    found = {}
    for row in rows:
        near = by_point[_cells(row, fixed)]
        alike = [one for one in near if _cells(one, rest) == _cells(row, rest)] or near
        if len(alike) > 1:
            what = f"several runs of '{names[row[PANEL]]}' could be that of '{row[SERIES]}'"
            hint = "name one of: " + ", ".join(dict.fromkeys(one[SERIES] for one in alike))
            raise InputError("--baseline", what, hint)
        if alike:
            found[int(row["run"])] = int(alike[0]["run"])
    if all(own == other for own, other in found.items()):
        who = " or ".join(f"'{one}'" for one in dict.fromkeys(names.values()))
        why = f"with {who}" if len(rows) > 1 else "as there is only one"
        raise InputError(WHERE, f"no run can be compared {why}", "run two systems on one trace")
    return found


def _cells(row: dict[str, Any], keys: list[str]) -> tuple[str, ...]:
    return tuple(str(row[key]) for key in keys)


def speed_ups(groups: Groups, tokens: pd.DataFrame, name: str | Mapping[str, str]) -> pd.DataFrame:
    """Return a row per panel, series and size: ``speed_up`` over the baseline, ``_low``, ``_high``, ``_why``.

    ``sequences`` were compared. NaN where there is none to compare with. Errors: InputError where no run is
    compared with another, or nothing was decoded.
    """
    import pandas as pd

    partner, sums = pairs(groups, name), per_sequence(tokens)
    if not sums["decoded_tokens"].any():
        raise InputError(WHERE, "no run has decoded tokens", "replay a trace that has decode steps")
    rows = []
    for (panel, series, size), part in groups.runs.groupby([PANEL, SERIES, SIZE], sort=False):
        own = [int(run) for run in part["run"] if int(run) in partner]
        found = Interval(NAN, NAN, NAN, 0, "no baseline")
        if own:
            found = speed_up(sums, own, [partner[run] for run in own])
        rows.append({PANEL: panel, SERIES: series, SIZE: size, **_named(SPEED_UP, found)})
    return pd.DataFrame(rows)


def _named(name: str, found: Interval) -> dict[str, object]:
    cells = asdict(found)
    ends = {f"{name}_{end}": cells[end] for end in ("low", "high", "why")}
    return {name: found.value, **ends, "sequences": found.sequences}
