"""Which cache size a sweep varied, and how an axis shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.analysis.labels import GIB, MIB
from simulator.analysis.summary import CACHES

if TYPE_CHECKING:
    import pandas as pd

ALL = "all"
BEYOND = 1.25
"""Where "all" stands, in largest caches."""
# How memory.<tier>_expert_cache may be given besides bytes: column of the CSV, unit, factor.
SHARES = {
    "fraction": ("percent_of_experts", "% of experts", 100.0),
    "experts_per_layer": ("experts_per_layer", "experts per layer", 1.0),
}


@dataclass(frozen=True, slots=True)
class SizeAxis:
    """The cache size of each run in the unit of the axis.

    ``source`` is the column of the summary that it is from, ``column`` its name in a figure's CSV. ``all_at``
    is where runs stand whose DRAM holds every expert: beyond the largest cache (None: there are none).
    """

    source: str
    column: str
    unit: str
    positions: pd.Series[float]
    all_at: float | None = None

    def text(self, size: float) -> str:
        """Return a size as a tick and a CSV say it."""
        return ALL if size == self.all_at else f"{size:g}"

    @property
    def label(self) -> str:
        """What an axis over the sizes is called."""
        return f"{self.tier} expert cache ({self.unit})"

    def title(self, size: float, *, short: bool = False) -> str:
        """Return what a panel at one size is called; ``short`` where it is clear that a cache is meant."""
        if size == self.all_at:
            return "all experts in DRAM"
        return f"{size:g} {self.unit}" if short else f"{self.tier} cache {size:g} {self.unit}"

    @property
    def tier(self) -> str:
        """Whose cache it is: GPU or CPU."""
        return self.column[:3].upper()


def size_axis(runs: pd.DataFrame, told: list[str]) -> SizeAxis | None:
    """Return the cache size that varies among runs with the same ``told`` columns, the GPU's first.

    None where no size varies by itself: one that follows from the machine or the batch is no axis.
    """
    for source in CACHES:
        tier = source[:3]
        axis = _share(runs, tier) or _bytes(runs, source, tier)
        if axis is not None:
            by = runs.assign(_size=axis.positions).groupby(told, dropna=False)["_size"]
            if by.nunique().max() > 1:
                return axis
    return None


def _share(runs: pd.DataFrame, tier: str) -> SizeAxis | None:
    """Return the size as a share of the experts, where all runs were given it so."""
    import pandas as pd

    key = f"memory.{tier}_expert_cache"
    for name, (column, unit, factor) in SHARES.items():
        for source in (f"{key}.{name}", key):
            if source not in runs:
                continue
            text = runs[source].astype(str)
            if source == key:
                text = text.where(text.str.startswith(f"{name.replace('_', ' ')} "), "")
                text = text.str.rsplit(" ", n=1).str[-1]
            values = pd.to_numeric(text, errors="coerce")
            if values.notna().all():
                shown = (values * factor).round(6)
                return SizeAxis(source, f"{tier}_expert_cache_{column}", unit, shown)
    return None


def _bytes(runs: pd.DataFrame, source: str, tier: str) -> SizeAxis | None:
    """Return the size in GiB, or in MiB where all are below one.

    Without a cache in DRAM all experts are there, more than in any cache; without one in the GPU it is 0.
    """
    if source not in runs or not runs[source].notna().any():
        return None
    found = runs[source].astype(float)
    unit, factor = ("GiB", GIB) if found.max() >= GIB else ("MiB", MIB)
    values = found.map(lambda n: float(f"{n / factor:.4g}"))
    in_dram = values.isna() & (runs["cpu_hit_rate"].notna() if "cpu_hit_rate" in runs else tier == "cpu")
    every = float(f"{BEYOND * values.max():.4g}") if tier == "cpu" and in_dram.any() else None
    values = values.mask(in_dram, every).fillna(0.0)
    return SizeAxis(source, f"{tier}_expert_cache_{unit.lower()}", unit, values, every)
