"""What tells the runs of a summary apart: panels (model, machine, ...), series (system, ...), sizes.

Only columns that vary count, and of these only such as are not settled by the others: a trace that
belongs to a model needs no mention of its own. Runs that nothing but their seed tells apart are averaged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from simulator.analysis.labels import facet_name, series_name, value_text
from simulator.analysis.sizes import SizeAxis, size_axis
from simulator.analysis.summary import CACHES, IDENTITY, swept

if TYPE_CHECKING:
    import pandas as pd

PANEL, SERIES, SIZE = "_panel", "_series", "_size"
FOLDER = "folder"
MODIFIED = " (modified)"
FACETS = ("model", "hardware", "software", "trace")


@dataclass(frozen=True, slots=True)
class Groups:
    """A summary with each run's panel, series and size, and their values in the order in which to show them.

    ``axis`` is None where the cache size does not vary on its own; ``sizes`` is then one dummy.
    ``told`` are the columns that tell the runs apart, besides the size and the seed.
    """

    runs: pd.DataFrame
    keys: tuple[str, ...]
    axis: SizeAxis | None
    panels: list[str]
    series: list[str]
    sizes: list[float]
    told: tuple[str, ...]

    def size_text(self, size: float) -> str:
        """Return a size as a tick says it."""
        return self.axis.text(size) if self.axis else f"{size:g}"


def group(summary: pd.DataFrame) -> Groups:
    """Return the groups of a summary with one row per run."""
    runs = summary.reset_index(drop=True).copy()
    others = [name for name in swept(runs) if not name.startswith("memory.")]
    text = [name for name in (*IDENTITY, *swept(runs)) if name in runs]
    for name in text:
        runs[name] = [value_text(value) for value in runs[name]]
    runs["system"] = _unmodified(runs, others)
    axis = size_axis(runs, [name for name in (*IDENTITY, *others) if name in runs])
    runs[SIZE] = axis.positions if axis else 0.0
    told = _telling(runs, [*text, *(name for name in CACHES if name in runs and axis is not None)], axis)
    facets = [name for name in FACETS if name in told]
    rest = [name for name in told if name not in facets and name != "system"]
    runs[PANEL] = ["\n".join(facet_name(name, row[name]) for name in facets) for _, row in runs.iterrows()]
    runs[SERIES] = [series_name(row.to_dict(), rest, named="system" in told) for _, row in runs.iterrows()]
    keys = tuple(name for name in (*IDENTITY, *CACHES, *rest) if name in runs)
    panels, series = list(dict.fromkeys(runs[PANEL])), list(dict.fromkeys(runs[SERIES]))
    sizes = sorted(set(runs[SIZE]))
    return Groups(runs, tuple(dict.fromkeys(keys)), axis, panels, series, sizes, tuple(told))


def shown(groups: Groups, metrics: list[str]) -> pd.DataFrame:
    """Return one row per panel, series and size with the mean of each metric.

    Where runs were averaged, NAME_min and NAME_max give their range, and ``runs_averaged`` their number.
    """
    import pandas as pd

    by = groups.runs.groupby([PANEL, SERIES, SIZE], sort=False, dropna=False)
    columns = {name: by[name].first() for name in groups.keys}
    columns |= {name: columns[name].astype("Int64") for name in CACHES if name in columns}
    for name in metrics:
        columns[name] = by[name].mean()
        if by.ngroups < len(groups.runs):
            columns[f"{name}_min"], columns[f"{name}_max"] = by[name].min(), by[name].max()
    if by.ngroups < len(groups.runs):
        columns["runs_averaged"] = by.size()
    found = pd.DataFrame(columns).reset_index()
    rank = found[PANEL].map(groups.panels.index), found[SERIES].map(groups.series.index)
    order = pd.DataFrame({"panel": rank[0], "series": rank[1], "size": found[SIZE]})
    return found.loc[order.sort_values(["panel", "series", "size"]).index].reset_index(drop=True)


def table(data: pd.DataFrame, axis: SizeAxis | None) -> pd.DataFrame:
    """Return what goes into the CSV beside a figure: ``data`` with the size under its name."""
    if axis is None:
        return data.drop(columns=[PANEL, SERIES, SIZE])
    found = data.drop(columns=[PANEL, SERIES]).rename(columns={SIZE: axis.column})
    if axis.all_at is not None:
        found[axis.column] = [axis.text(size) for size in found[axis.column]]
    return found


def _unmodified(runs: pd.DataFrame, keys: list[str]) -> pd.Series[str]:
    """Return the systems, not called modified where a folder has them unmodified too, and ``keys`` say which.

    Keys say so where runs that share them all are modified or not alike.
    """
    base = runs["system"].str.removesuffix(MODIFIED)
    modified, within = runs["system"].ne(base), [base, *(runs[name] for name in {FOLDER} & {*runs})]
    both = modified.groupby(within).transform("nunique") > 1
    if not keys or not both.any():
        return runs["system"]
    unclear = modified.groupby([*within, *(runs[name] for name in keys)]).transform("nunique") > 1
    return base.where(both & ~unclear.groupby(within).transform("any"), runs["system"])


def _telling(runs: pd.DataFrame, names: list[str], axis: SizeAxis | None) -> list[str]:
    """Return the columns, of ``names`` in this order, that tell runs apart which those before do not.

    The size is among those before only for what was swept, and so is the folder, of several: neither stands
    for a system or model.
    """
    chosen: list[str] = []
    folder = [FOLDER] if FOLDER in runs else []
    for name in names:
        by = chosen if name in IDENTITY else [*folder, *chosen, SIZE]
        values = runs.groupby(by, dropna=False)[name] if by else runs[name]
        if (axis is None or name != axis.source) and np.max(values.nunique(dropna=False)) > 1:
            chosen.append(name)
    return chosen
