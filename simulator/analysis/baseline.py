"""Who is compared with whom: for each run, that of the baseline at the same point of the sweep."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from simulator.analysis.groups import FACETS, PANEL, SERIES, SIZE, Groups
from simulator.analysis.paired import NAN, Interval, per_sequence, speed_up
from simulator.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

SPEED_UP = "speed_up"


def baseline_name(groups: Groups, asked: str | None) -> str:
    """Return the baseline: a system, or a series by its name in a legend; unasked, the first.

    Errors: InputError where there is no such system or series.
    """
    if asked is None:
        return str(groups.runs["system"].iloc[0]) if "system" in groups.told else groups.series[0]
    names = dict.fromkeys([*groups.runs["system"], *groups.series])
    if asked not in names:
        raise InputError("--baseline", f"no run is of '{asked}'", did_you_mean(asked, names))
    return asked


def pairs(groups: Groups, name: str) -> dict[int, int]:
    """Return the number of the baseline's run for each run that has one.

    Both share model, hardware, trace, cache size, swept workload and seed; all else that was swept too, where
    the baseline has a run of that kind. Errors: InputError where several runs could be the baseline.
    """
    runs = groups.runs
    rest = [key for key in groups.told if key not in (*FACETS, "system")]
    fixed = [PANEL, SIZE, *(key for key in rest if key.startswith("workload.")), *({"seed"} & {*runs})]
    column = "system" if name in set(runs["system"]) and "system" in groups.told else SERIES
    rows: list[dict[str, Any]] = runs.to_dict("records")  # type: ignore[assignment]
    by_point = defaultdict(list)
    for row in rows:
        if row[column] == name:
            by_point[_cells(row, fixed)].append(row)
    found = {}
    for row in rows:
        near = by_point[_cells(row, fixed)]
        alike = [one for one in near if _cells(one, rest) == _cells(row, rest)] or near
        if len(alike) > 1:
            hint = "name one of: " + ", ".join(dict.fromkeys(one[SERIES] for one in alike))
            raise InputError("--baseline", f"several runs of '{name}' could be that of '{row[SERIES]}'", hint)
        if alike:
            found[int(row["run"])] = int(alike[0]["run"])
    if all(own == other for own, other in found.items()):
        raise InputError(
            "--baseline", f"no run can be compared with '{name}'", "run two systems on one trace"
        )
    return found


def _cells(row: dict[str, Any], keys: list[str]) -> tuple[str, ...]:
    return tuple(str(row[key]) for key in keys)


def speed_ups(groups: Groups, tokens: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return a row per panel, series and size: ``speed_up`` over the baseline, ``_low``, ``_high``, ``_why``.

    ``sequences`` were compared. NaN where the baseline has no run to compare with.
    """
    import pandas as pd

    partner, sums = pairs(groups, name), per_sequence(tokens)
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
