"""A progress bar for notebooks and terminals."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from simulator.results.summary import RunResult
from simulator.runs.faults import Failure


class Bar:
    """One bar over all runs, with the time left. Implements ``runs.experiment.Progress``."""

    def __init__(self, *, shown: bool) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            transient=True,
            disable=not shown,
        )
        self.task = self.bar.add_task("runs", total=None)

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def advance(self, done: int, runs: int, per_mille: int) -> None:
        """Show the share of all runs that is done."""
        said = f"run {min(done + 1, runs)} of {runs}"
        self.bar.update(self.task, total=runs * 1000, completed=done * 1000 + per_mille, description=said)

    def ended(self, outcome: RunResult | Failure) -> None:
        """Take in how a run ended: nothing more is shown of it."""
