"""``moesim tune``: an experiment with a section ``tune`` in, the best values of its parameters out."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import typer

from simulator.cli.arguments import Experiment, Sets, Traceback, told

if TYPE_CHECKING:
    from simulator.tune.findings import Findings
    from simulator.tune.search import Trial


def tune(
    experiment: Experiment,
    set_: Sets = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="results folder (default: results/NAME-tune)")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="continue an interrupted search")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="replace other results, or an unfinished search")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print what was found as JSON")] = False,
    traceback: Traceback = False,
) -> None:
    """Search settings on some sequences, and try what was found on the others."""
    from simulator.tune.tuning import HowToTune, tune_experiment

    how = HowToTune(force=force, resume=resume, command=["moesim", *sys.argv[1:]])
    with told(traceback), _Bar() as bar:
        found, folder = tune_experiment(experiment, set_ or [], out, how, bar.update)
    for warning in found.warnings():
        print(f"warning: {warning}", file=sys.stderr)
    if as_json:
        print(json.dumps(found.summary() | {"out": str(folder)}, indent=2))
        return
    _print(found)
    print(f"results: {folder}")
    print(f"run it:  moesim run {folder / 'best.yaml'}")


def _print(found: Findings) -> None:
    """Print the metric by part, then the best values beside the present ones."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    metric, aim = found.subject.tune.metric, "maximised" if found.maximise else "minimised"
    scores = Table(title=f"{found.subject.name}: {metric}, {aim}", box=box.SIMPLE_HEAD)
    scores.add_column("sequences")
    for heading in ("as it is", "best", "better by"):
        scores.add_column(heading, justify="right")
    parts = {"held out": found.held_out, "training": found.training, "all": found.all}
    for name, pair in parts.items():
        gain = pair.gain(maximise=found.maximise)
        better = f"{100 * gain:+.2f} %" if pair.before else f"{gain:.6g}"
        scores.add_row(name, f"{pair.before:.6g}", f"{pair.after:.6g}", better)
    values = Table(box=box.SIMPLE_HEAD)
    for heading in ("setting", "as it is", "best"):
        values.add_column(heading, overflow="fold")
    first, best = found.named(found.trials[0].values), found.named(found.best.values)
    for setting in found.subject.space.settings:
        before, after = first.get(setting, ""), best.get(setting, "")
        values.add_row(setting, str(before), str(after))
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(scores)
    console.print(values)


class _Bar:
    """A line on a terminal's stderr: trials, and the best so far; nothing in a pipe."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        columns = (
            TextColumn("trial {task.completed:.0f} of {task.fields[of]}"),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[best]}"),
        )
        self.progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.task = self.progress.add_task("", total=None, of="?", best="")

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def update(self, done: int, trials: int, best: Trial) -> None:
        """Show how far the search is."""
        said = f"best {best.score:.6g} (trial {best.number})"
        self.progress.update(self.task, total=trials, completed=done, of=trials, best=said)
