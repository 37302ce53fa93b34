"""The runs of one or several folders as one table: what tells them apart, and metrics side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.analysis.baseline import SPEED_UP, baseline_name, first_names, speed_ups
from simulator.analysis.groups import FACETS, FOLDER, PANEL, SERIES, SIZE, Groups, group, shown
from simulator.analysis.labels import words
from simulator.analysis.paired import INTEGERS, Interval, own_ratio, per_sequence
from simulator.analysis.remarks import remarks, said
from simulator.analysis.summary import CACHES, IDENTITY, LOSSES, knows_future, need, read_summary, swept
from simulator.analysis.tables import need_integers, read_table
from simulator.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

STALL_SHARE, MASS_LOST = "stall_share", "gate_mass_lost"
DEFAULT = (
    "tokens_per_second", SPEED_UP, "hit_rate", "tpot_ms_p50", "tpot_ms_p95", STALL_SHARE, MASS_LOST,
)  # fmt: skip
# Of the metrics that are ratios of sums over sequences: over, under, factor; and what they never exceed.
RATIOS = {"tokens_per_second": ("decoded_tokens", "decode_ns", 10**9), "hit_rate": ("hits", "lookups", 1)}
MOST = {"hit_rate": 1.0}
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
LOWER = (
    "ttft", "tpot", "stall", "late", "miss", "wasted", "unused", "gate_mass_", "perplexity", "overhead",
    "host",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Comparison:
    """``table`` has a row per run (seeds averaged): the columns ``who``, by heading, then ``metrics``.

    Cells are NaN where empty. NAME_low and NAME_high follow where there is an interval. ``baseline`` is what
    all speed-ups are over; None where they differ: then it is a column too. ``best`` has the rows of the best
    value of a metric among those that differ in nothing but the system and do not know the future, ``blocks``
    where these begin. ``notes`` say what is not there, and why.
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
    if len(folders) > 1:
        data[FOLDER] = data[PANEL].str.split("\n").str[0]
    names: dict[str, str] = {}
    notes: list[str] = []
    must = baseline is not None or SPEED_UP in metrics
    try:
        tokens = _tokens(folders) if SPEED_UP in wanted or RATIOS.keys() & set(wanted) else None
        if tokens is not None:
            data = _with_intervals(data, groups, tokens, measured)
        if tokens is not None and SPEED_UP in wanted:
            over = _baselines(groups, baseline)
            data = data.merge(speed_ups(groups, tokens, over), on=[PANEL, SERIES, SIZE], how="left")
            names = over
            notes += remarks(data, groups, names)
    except InputError as error:
        if must:
            raise
        notes.append(f"No speed-up: {said(error)}.")
    found = [one for one in wanted if one in data and (metrics or _says_something(data, one))]
    return _ordered(data, groups, found, names, notes, several=len(folders) > 1)


def _baselines(groups: Groups, asked: str | None) -> dict[str, str]:
    """Return the baseline of each panel: that which was asked for, or the first of its folder."""
    if asked is None:
        return first_names(groups, FOLDER)
    return dict.fromkeys(groups.panels, baseline_name(groups, asked))


def _numbered(folder: Path, place: int) -> pd.DataFrame:
    """Return a folder's summary, under numbers of runs that no other of the folders has."""
    summary = read_summary(folder)
    need(summary, ("run",), str(folder / "summary.csv"))
    summary[FOLDER], summary["run"] = str(folder), summary["run"] + (place << 24)
    return summary


def _tokens(folders: Sequence[Path]) -> pd.DataFrame:
    import pandas as pd

    tables = [read_table(folder, "tokens") for folder in folders]
    for folder, table in zip(folders, tables, strict=True):
        need_integers(table, INTEGERS, str(folder / "tokens.parquet"))
    return pd.concat(
        [table.assign(run=table["run"].astype("int64") + (i << 24)) for i, table in enumerate(tables)]
    )


def _with_shares(summary: pd.DataFrame) -> pd.DataFrame:
    """Add the share of a decoded token's time that is a stall, and of gate mass that is lost."""
    labels = [
        f"{one}_ms_per_token" for one in ("dense", "expert_compute", "cpu_expert_wait", "stall", "overhead")
    ]
    if {*labels} <= {*summary}:
        total = summary[[*labels, *({"host_ms_per_token"} & {*summary})]].sum(axis=1)
        summary = summary.assign(**{STALL_SHARE: summary["stall_ms_per_token"] / total})
    if {*LOSSES} <= {*summary}:
        summary = summary.assign(**{MASS_LOST: summary[list(LOSSES)].sum(axis=1, skipna=False).round(9)})
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
    import pandas as pd

    sums = per_sequence(tokens)
    there = set(sums.index.get_level_values("run"))
    runs = groups.runs.groupby([PANEL, SERIES, SIZE])["run"].agg(list)
    for metric in [name for name in RATIOS if name in metrics]:
        found: list[Interval] = []
        for cell in zip(data[PANEL], data[SERIES], data[SIZE], strict=True):
            own = [int(run) for run in runs[cell] if int(run) in there]
            found.append(own_ratio(sums, own, *RATIOS[metric]))
        data[f"{metric}_low"] = [one.low for one in found]
        data[f"{metric}_high"] = pd.Series([one.high for one in found], data.index).clip(
            upper=MOST.get(metric)
        )
    return data


def _ordered(
    data: pd.DataFrame,
    groups: Groups,
    metrics: list[str],
    baselines: dict[str, str],
    notes: list[str],
    *,
    several: bool,
) -> Comparison:
    """Return the table with the runs side by side that differ in nothing but the system."""
    beside = [PANEL, *(name for name in groups.told if name.startswith("workload."))]
    ranks = {f"_{n}": _first_run(data, groups, names) for n, names in enumerate((beside, [PANEL, SERIES]))}
    order = data.assign(**ranks).sort_values(["_0", SIZE, "_1"], kind="stable").index
    data = data.loc[order].reset_index(drop=True)
    cells = [data[name] for name in (*beside, SIZE)]
    block = data.groupby(cells, sort=False).ngroup()
    blocks = [int(row) for row in data.index[block.diff().fillna(0) != 0]]
    bound = _bounds(data, groups)
    best = {name: _best(data, name, cells, bound) for name in metrics}
    if bound.any() and any(best.values()):
        names = ", ".join(dict.fromkeys(data.loc[bound, "system"].astype(str)))
        notes = [*notes, f"Not ranked, since it takes knowledge of the future: {names}."]
    told = [name for name in (*FACETS, "system", *groups.told) if name in groups.told or name == "system"]
    if groups.axis is not None:
        data = data.rename(columns={SIZE: groups.axis.column})
        if groups.axis.all_at is not None:
            data[groups.axis.column] = [groups.size_text(size) for size in data[groups.axis.column]]
        told.append(groups.axis.column)
    columns = [name for name in ([FOLDER] if several else []) + told if name in data]
    who = {name: words(name) for name in dict.fromkeys(columns)}
    if groups.axis is not None:
        who[groups.axis.column] = groups.axis.label
    ends = [f"{name}_{end}" for name in metrics for end in ("low", "high") if f"{name}_{end}" in data]
    over = list(dict.fromkeys(baselines.values()))
    if len(over) > 1:
        data["baseline"] = data[PANEL].map(baselines)
    more = [name for name in ("baseline", "runs_averaged") if name in data]
    table = data[[*who, *metrics, *ends, *more]]
    return Comparison(table, who, metrics, best, blocks, over[0] if len(over) == 1 else None, notes)


def _first_run(data: pd.DataFrame, groups: Groups, names: list[str]) -> list[int]:
    """Return for each row the first run with the same ``names``."""
    first = groups.runs.groupby(names, dropna=False)["run"].min().to_dict()
    cells = (tuple(row) if len(names) > 1 else row[0] for row in data[names].to_numpy())
    return [int(first[cell]) for cell in cells]


def _bounds(data: pd.DataFrame, groups: Groups) -> pd.Series[bool]:
    """Return the rows that know the future; none where all do."""
    import pandas as pd

    runs = groups.runs.assign(_bound=knows_future(groups.runs))
    knows = runs.groupby([PANEL, SERIES, SIZE], dropna=False)["_bound"].any()
    found = [bool(knows[cell]) for cell in zip(data[PANEL], data[SERIES], data[SIZE], strict=True)]
    return pd.Series(found, data.index) & (not all(found))


def _best(data: pd.DataFrame, name: str, cells: list[pd.Series[str]], bound: pd.Series[bool]) -> set[int]:
    """Return the rows with the best value among those beside it; none where a row stands alone, no bound."""
    better = 1 if name.startswith(HIGHER) else -1 if name.startswith(LOWER) else 0
    values = (better * data[name]).mask(bound)
    among = values.groupby(cells)
    is_best = values.eq(among.transform("max")) & (among.transform("nunique") > 1)
    return {int(row) for row in data.index[is_best]} if better else set()
