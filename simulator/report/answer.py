"""What a summary answers: the fastest run of each panel and cache size, and by how much."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.analysis.groups import FACETS, PANEL, SERIES, SIZE, group, shown
from simulator.analysis.summary import knows_future
from simulator.numerals import three_digits

if TYPE_CHECKING:
    import pandas as pd

# What runs are ranked by: the first that any run has.
RANKED = (
    ("tokens_per_second", "decoded tokens/s"),
    ("throughput_tokens_per_second", "prompt and decoded tokens/s"),
)
EXACT, HITS = "gate_mass_high", "hit_rate"


@dataclass(frozen=True, slots=True)
class Best:
    """The fastest of a panel at a size, against the next and the slowest (empty where it is alone)."""

    panel: str
    size: str
    system: str
    rate: str
    next: str
    next_lead: str
    slowest: str
    slowest_lead: str
    hit_rate: str
    main_precision: str
    """Share of gate mass at main precision, in per cent; empty where all runs keep all of it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The fastest by ``unit`` in each panel; no rows where no run has a rate.

    ``size`` is what the rows' sizes are of. ``bounds`` are systems that know the future: not ranked, unless
    there are no others.
    """

    unit: str
    size: str
    rows: list[Best]
    bounds: list[str]

    @property
    def winners(self) -> list[tuple[str, int]]:
        """Who is the fastest how often, the most often first."""
        return Counter(row.system for row in self.rows).most_common()


def answer(summary: pd.DataFrame) -> Answer:
    """Return the fastest run of each panel and size; runs that only their seed tells apart are averaged."""
    bound = knows_future(summary)
    bounds = [] if bound.all() else list(dict.fromkeys(summary["system"][bound]))
    groups = group(summary if bound.all() else summary[~bound])
    wanted = [name for name in (*(name for name, _ in RANKED), EXACT, HITS) if _numeric(groups.runs, name)]
    data = shown(groups, wanted)
    ranked = next(
        ((name, unit) for name, unit in RANKED if name in wanted and data[name].notna().any()), None
    )
    axis = groups.axis
    title = f"{axis.tier} cache" if axis else ""
    if ranked is None:
        return Answer(RANKED[0][1], title, [], bounds)
    lossy = EXACT in wanted and bool((data[EXACT] < 1).any())
    rows = []
    for (panel, size), part in data[data[ranked[0]].notna()].groupby([PANEL, SIZE], sort=False):
        at = axis.title(float(str(size)), short=True) if axis else ""
        rows.append(_best(str(panel), at, part, ranked[0], lossy=lossy))
    return Answer(ranked[1], title, rows, bounds)


def _best(panel: str, size: str, part: pd.DataFrame, metric: str, *, lossy: bool) -> Best:
    order = part.sort_values(metric, ascending=False, kind="stable")
    first, last = order.iloc[0], order.iloc[-1]
    second = order.iloc[1] if len(order) > 1 else None
    return Best(
        panel=panel.replace("\n", ", "),
        size=size,
        system=first[SERIES],
        rate=three_digits(first[metric]),
        next=second[SERIES] if second is not None else "",
        next_lead=_lead(first[metric], second[metric]) if second is not None else "",
        slowest=last[SERIES] if len(order) > 2 else "",
        slowest_lead=_lead(first[metric], last[metric]) if len(order) > 2 else "",
        hit_rate=f"{100 * first[HITS]:.1f} %" if HITS in part and not math.isnan(first[HITS]) else "",
        main_precision=f"{100 * first[EXACT]:.1f} %" if lossy else "",
    )


def _lead(fast: float, slow: float) -> str:
    """Return how much faster: in per cent below twice, in times above."""
    if slow <= 0:
        return "∞"
    ratio = fast / slow
    return f"{ratio:.3g} times" if ratio >= 2 else f"+{100 * (ratio - 1):.1f} %"


def _numeric(runs: pd.DataFrame, name: str) -> bool:
    return name in runs and runs[name].dtype.kind == "f"


def shared(summary: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the model, hardware and trace where all runs have the same."""
    return [(name, str(summary[name].iloc[0])) for name in FACETS if len(set(summary[name])) == 1]
