"""The runs of one or several folders as one table: what tells them apart, and metrics side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.analysis.baseline import SPEED_UP, baseline_name, speed_ups
from simulator.analysis.groups import FACETS, PANEL, SERIES, SIZE, Groups, group, shown
from simulator.analysis.labels import words
from simulator.analysis.paired import FEWEST, Interval, own_ratio, per_sequence
from simulator.analysis.summary import CACHES, IDENTITY, need, read_summary, swept
from simulator.analysis.tables import read_table
from simulator.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "folder"
STALL_SHARE, MASS_LOST = "stall_share", "gate_mass_lost"
DEFAULT = (
    "tokens_per_second", SPEED_UP, "hit_rate", "tpot_ms_p50", "tpot_ms_p95", STALL_SHARE, MASS_LOST,
)  # fmt: skip
# Of the metrics that are ratios of sums over sequences: over, under, factor.
RATIOS = {"tokens_per_second": ("decoded_tokens", "decode_ns", 10**9), "hit_rate": ("hits", "lookups", 1)}
# Which way is better, by how a name begins or ends; where neither says so, nothing is best.
HIGHER = (
    "tokens_per_second",
    "throughput",
    SPEED_UP,
    "hit_rate",
    "cpu_hit_rate",
    "prefetch_",
    "gate_mass_high",
)
LOWER = ("ttft", "tpot", "stall", "late", "miss", "wasted", "unused", "gate_mass_", "perplexity", "overhead")


@dataclass(frozen=True, slots=True)
class Comparison:
    """``table`` has a row per run (seeds averaged): the columns ``who``, by heading, then ``metrics``.

    Cells are NaN where empty. NAME_low and NAME_high follow where there is an interval. ``best`` has the rows
    of the best value of a metric among those that differ in nothing but the system, and ``blocks`` where
    these begin. ``notes`` say what is not there, and why.
    """

    table: pd.DataFrame
    who: dict[str, str]
    metrics: list[str]
    best: dict[str, set[int]]
    blocks: list[int]
    baseline: str | None
    notes: list[str]


def compare(folders: Sequence[Path], baseline: str | None = None, metrics: Sequence[str] = ()) -> Comparison:
    """Return the table of the runs of ``folders``, each compared with the baseline of its own folder.

    Errors: InputError where results are missing or foreign, and on an unknown baseline or metric.
    """
    import pandas as pd

    folders = list(dict.fromkeys(folders))
    summaries = [_numbered(folder, place) for place, folder in enumerate(folders)]
    summary = _with_shares(pd.concat(summaries, ignore_index=True))
    wanted = _wanted(summary, metrics)
    groups = _grouped(summary, several=len(folders) > 1)
    measured = [name for name in wanted if name != SPEED_UP]
    data = shown(groups, measured)
    data[FOLDER] = data[PANEL].str.split("\n").str[0]
    name, notes = None, []
    must = baseline is not None or SPEED_UP in metrics
    try:
        tokens = _tokens(folders) if SPEED_UP in wanted or RATIOS.keys() & set(wanted) else None
        if tokens is not None:
            data = _with_intervals(data, groups, tokens, measured)
        if tokens is not None and SPEED_UP in wanted:
            name = baseline_name(groups, baseline)
            data = data.merge(speed_ups(groups, tokens, name), on=[PANEL, SERIES, SIZE], how="left")
    except InputError as error:
        if must:
            raise
        name = None
        notes.append(f"No speed-up: {error.what}.")
    if (
        f"{SPEED_UP}_why" in data
        and data[f"{SPEED_UP}_why"].str.endswith(("one sequence", "sequences")).any()
    ):
        notes.append(f"No interval where fewer than {FEWEST} sequences were replayed: too few to resample.")
    found = [one for one in wanted if one in data and (metrics or _says_something(data, one))]
    return _ordered(data, groups, found, name, notes, several=len(folders) > 1)


def _numbered(folder: Path, place: int) -> pd.DataFrame:
    """Return a folder's summary, under numbers of runs that no other of the folders has."""
    summary = read_summary(folder)
    need(summary, ("run",), str(folder / "summary.csv"))
    summary[FOLDER], summary["run"] = str(folder), summary["run"] + (place << 24)
    return summary


def _tokens(folders: Sequence[Path]) -> pd.DataFrame:
    import pandas as pd

    tables = [read_table(folder, "tokens") for folder in folders]
    return pd.concat(
        [table.assign(run=table["run"].astype("int64") + (i << 24)) for i, table in enumerate(tables)]
    )


def _with_shares(summary: pd.DataFrame) -> pd.DataFrame:
    """Add the share of a decoded token's time that is a stall, and of gate mass not served as asked."""
    labels = [
        f"{one}_ms_per_token" for one in ("dense", "expert_compute", "cpu_expert_wait", "stall", "overhead")
    ]
    if {*labels} <= {*summary}:
        summary = summary.assign(**{STALL_SHARE: summary["stall_ms_per_token"] / summary[labels].sum(axis=1)})
    if "gate_mass_high" in summary:
        summary = summary.assign(**{MASS_LOST: (1 - summary["gate_mass_high"]).round(9)})
    return summary


def _wanted(summary: pd.DataFrame, asked: Sequence[str]) -> list[str]:
    """Return the metrics to show. Errors: InputError on one that is no metric of these runs."""
    identity = {"run", "seed", *IDENTITY, *CACHES, *swept(summary)}
    names = [str(name) for name in summary]
    known = [name for name in names if name not in identity and summary[name].dtype.kind == "f"] + [SPEED_UP]
    for name in asked:
        if name not in known:
            raise InputError("--metric", f"unknown metric ({name!r})", did_you_mean(name, known))
    return list(dict.fromkeys(asked)) or [name for name in DEFAULT if name in known]


def _grouped(summary: pd.DataFrame, *, several: bool) -> Groups:
    """Return the groups, a panel of its own for each folder where there are several."""
    groups = group(summary)
    if several:
        groups.runs[PANEL] = groups.runs[FOLDER] + "\n" + groups.runs[PANEL]
        groups = replace(groups, panels=list(dict.fromkeys(groups.runs[PANEL])))
    return groups


def _says_something(data: pd.DataFrame, name: str) -> bool:
    values = data[name]
    return bool(values.notna().any()) and not (name == MASS_LOST and not (values > 0).any())


def _with_intervals(
    data: pd.DataFrame, groups: Groups, tokens: pd.DataFrame, metrics: Sequence[str]
) -> pd.DataFrame:
    """Add the intervals of those metrics that are RATIOS."""
    sums = per_sequence(tokens)
    there = set(sums.index.get_level_values("run"))
    runs = groups.runs.groupby([PANEL, SERIES, SIZE])["run"].agg(list)
    for metric in [name for name in RATIOS if name in metrics]:
        found: list[Interval] = []
        for cell in zip(data[PANEL], data[SERIES], data[SIZE], strict=True):
            own = [int(run) for run in runs[cell] if int(run) in there]
            found.append(own_ratio(sums, own, *RATIOS[metric]))
        data[f"{metric}_low"] = [one.low for one in found]
        data[f"{metric}_high"] = [one.high for one in found]
    return data


def _ordered(
    data: pd.DataFrame,
    groups: Groups,
    metrics: list[str],
    baseline: str | None,
    notes: list[str],
    *,
    several: bool,
) -> Comparison:
    """Return the table with the runs side by side that differ in nothing but the system."""
    rank = data[PANEL].map(groups.panels.index)
    data = data.loc[data.assign(_rank=rank).sort_values(["_rank", SIZE], kind="stable").index]
    data = data.reset_index(drop=True)
    cells = [data[PANEL], data[SIZE]]
    place = data.groupby(cells, sort=False).ngroup()
    blocks = [int(row) for row in data.index[place.diff().fillna(0) != 0]]
    best = {name: _best(data, name, cells) for name in metrics}
    told = [name for name in (*FACETS, "system", *groups.told) if name in groups.told or name == "system"]
    if groups.axis is not None:
        data = data.rename(columns={SIZE: groups.axis.column})
        told.append(groups.axis.column)
    names = [name for name in ([FOLDER] if several else []) + told if name in data]
    who = {name: words(name) for name in dict.fromkeys(names)}
    if groups.axis is not None:
        who[groups.axis.column] = groups.axis.label
    ends = [f"{name}_{end}" for name in metrics for end in ("low", "high") if f"{name}_{end}" in data]
    more = [name for name in ("runs_averaged",) if name in data]
    table = data[[*who, *metrics, *ends, *more]]
    return Comparison(table, who, metrics, best, blocks, baseline, notes)


def _best(data: pd.DataFrame, name: str, cells: list[pd.Series[str]]) -> set[int]:
    """Return the rows with the best value among those beside it; none where a row stands alone."""
    better = 1 if name.startswith(HIGHER) else -1 if name.startswith(LOWER) else 0
    values = better * data[name]
    among = values.groupby(cells)
    is_best = values.eq(among.transform("max")) & (among.transform("nunique") > 1)
    return {int(row) for row in data.index[is_best]} if better else set()
