"""What a terminal shows while a sweep runs: a bar with the time left, and the runs that ended last."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.console import Group
    from rich.text import Text

    from simulator.results.summary import RunResult
    from simulator.runs.faults import Failure

ROWS = 8
"""Runs that are shown."""
SHOWN = {"tokens_per_second": "tokens/s", "hit_rate": "hit rate", "stall_ms_per_token": "stall ms/token"}


class Live:
    """Progress on a terminal's stderr; nothing in a pipe. Implements ``runner.Progress``."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live as RichLive
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("run {task.fields[n]} of {task.fields[of]}"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("[red]{task.fields[failed]}"),
            console=console,
        )
        self.task = self.bar.add_task("", total=None, n=1, of=1, failed="")
        self.last: deque[tuple[Text, ...]] = deque(maxlen=ROWS)
        self.failed = 0
        self.live = RichLive(
            get_renderable=self._shown, console=console, transient=True, refresh_per_second=4
        )
        self.shown = console.is_terminal

    def __enter__(self) -> Self:
        if self.shown:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.shown:
            self.live.stop()

    def advance(self, done: int, runs: int, per_mille: int) -> None:
        """Show the share of all runs that is done."""
        self.bar.update(
            self.task, total=runs * 1000, completed=done * 1000 + per_mille, n=min(done + 1, runs), of=runs
        )

    def ended(self, outcome: RunResult | Failure) -> None:
        """Show a run that ended: who it was, and what it reached or why it failed."""
        from rich.text import Text

        from simulator.cli.words import value
        from simulator.numerals import four_digits
        from simulator.runs.faults import Failure

        if isinstance(outcome, Failure):
            self.failed += 1
            self.bar.update(self.task, failed=f"{self.failed} failed")
            self.last.append(
                (Text(outcome.where), Text(outcome.cause, style="red"), *[Text()] * (len(SHOWN) - 1))
            )
            return
        who = ", ".join(value(v) for v in outcome.swept.values()) or str(outcome.identity["system"])
        self.last.append((Text(who), *(Text(four_digits(outcome.metrics[name])) for name in SHOWN)))

    def _shown(self) -> Group:
        from rich.console import Group
        from rich.table import Table

        table = Table(box=None, padding=(0, 2, 0, 0))
        table.add_column("ended last", overflow="ellipsis", no_wrap=True, ratio=1)
        for heading in SHOWN.values():
            table.add_column(heading, justify="right", overflow="ellipsis", no_wrap=True)
        for row in self.last:
            table.add_row(*row)
        return Group(*([table] if self.last else []), self.bar)
