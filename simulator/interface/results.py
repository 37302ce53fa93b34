"""Results as DataFrames and figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from simulator.analysis.summary import read_summary
from simulator.analysis.tables import read_table
from simulator.errors import InputError, did_you_mean
from simulator.interface.units import with_units

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Results:
    """A folder of results; tables are read when they are asked for, units are in their ``attrs["units"]``.

    ``warnings`` and ``failures`` are what ``moesim run`` prints. Results that were not given a folder are
    gone with the last reference to this object.
    """

    folder: Path
    warnings: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    kept: TemporaryDirectory[str] | None = field(default=None, repr=False)

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row a run: who it was, then its metrics."""
        return with_units(read_summary(self.folder))

    @cached_property
    def tokens(self) -> pd.DataFrame:
        """One row a run, pass and sequence: labels of time, lookups, bytes."""
        return with_units(read_table(self.folder, "tokens"))

    @cached_property
    def experts(self) -> pd.DataFrame:
        """One row a run, layer and expert: lookups, and for how long it was resident."""
        return with_units(read_table(self.folder, "experts"))

    def figure(self, name: str, *, baseline: str | None = None, style: str = "notebook") -> Figure:
        """Return one of ``moesim list figures``. Errors: InputError (unknown, or nothing to draw)."""
        from simulator.plots.registry import FIGURES, Source
        from simulator.plots.style import styled

        if name not in FIGURES:
            raise InputError("figure", f"unknown figure ({name!r})", did_you_mean(name, FIGURES))
        with styled(style):
            source = Source(self.folder, baseline)
            source.use_letters()
            return source.draw(FIGURES[name])[0]

    def compare(self, baseline: str | None = None, metrics: Sequence[str] = ()) -> pd.DataFrame:
        """Return the table of ``moesim compare`` over these runs. Errors: InputError."""
        return compare([self], baseline, metrics)


def read_results(folder: str | Path) -> Results:
    """Return the results that ``moesim run`` wrote to a folder. Errors: InputError (it has none)."""
    found = Results(Path(folder))
    _ = found.summary
    return found


def compare(
    results: Sequence[Results | str | Path], baseline: str | None = None, metrics: Sequence[str] = ()
) -> pd.DataFrame:
    """Return runs side by side: speed-ups over ``baseline`` on the same sequences, with 95 % intervals.

    The notes that ``moesim compare`` prints are in ``attrs["notes"]``. Errors: InputError.
    """
    from simulator.analysis.compare import compare as compared

    folders = [one.folder if isinstance(one, Results) else Path(one) for one in results]
    found = compared(folders, baseline, metrics)
    table = with_units(found.table)
    table.attrs["notes"] = list(found.notes)
    return table
