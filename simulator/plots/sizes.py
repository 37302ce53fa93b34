"""The cache-size axis: bytes in GiB, or the share of experts where that is what was swept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.plots.summary import CACHES

if TYPE_CHECKING:
    import pandas as pd

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class SizeAxis:
    """The size of each run: from which column, under which name, and how the axis is labelled."""

    source: str
    column: str
    label: str
    positions: list[float]


def size_axis(runs: pd.DataFrame, others: list[str]) -> SizeAxis | None:
    """Return the axis of a summary; None where no cache size varies between runs that are otherwise alike."""
    for name in runs.columns:
        if name.startswith("memory.") and name.endswith(".fraction") and _varies(runs, name, others):
            tier = "GPU" if "gpu" in name else "CPU"
            positions = [float(value) for value in runs[name]]
            return SizeAxis(name, "cached_share", f"share of experts in the {tier} cache", positions)
    for name in CACHES:
        if name in runs and runs[name].notna().all() and _varies(runs, name, others):
            tier = "GPU" if "gpu" in name else "CPU"
            positions = [float(value) / GIB for value in runs[name]]
            return SizeAxis(name, "cache_gib", f"{tier} expert cache (GiB)", positions)
    return None


def _varies(runs: pd.DataFrame, name: str, others: list[str]) -> bool:
    if not others:
        return len(set(runs[name])) > 1
    return bool(runs.groupby(others, dropna=False)[name].nunique().max() > 1)
