"""``moesim run``: an experiment file in, a table and figures out."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.cli.arguments import Experiment, Sets, Traceback, told
from simulator.cli.progress import Live
from simulator.cli.words import value
from simulator.errors import TerminatedError
from simulator.numerals import four_digits
from simulator.text import printable

if TYPE_CHECKING:
    from rich.table import Table

    from simulator.results.summary import RunResult
    from simulator.runs.experiment import Finished


class Where(StrEnum):
    """What executes the runs of a sweep."""

    LOCAL = "local"
    DASK = "dask"


class Played(StrEnum):
    """Which engine plays."""

    AUTO = "auto"
    SIMPY = "simpy"


def run(
    experiment: Experiment,
    set_: Sets = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="results folder (default: results/NAME)")
    ] = None,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=0, help="runs at a time (default: one for each core)")
    ] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="continue an interrupted sweep")] = False,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="leave failed runs out instead of stopping")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="replace another run's results, or an unfinished sweep")
    ] = False,
    engine: Annotated[
        Played, typer.Option(help="who plays: the SimPy model of docs/timing.md, or the fastest that can")
    ] = Played.AUTO,
    backend: Annotated[Where, typer.Option(help="local processes, or a Dask cluster")] = Where.LOCAL,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="of the Dask scheduler, such as tcp://host:8786")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the summary as JSON")] = False,
    traceback: Traceback = False,
) -> None:
    """Run an experiment with its sweep; write table, tokens, manifest and figures."""
    from joblib import cpu_count

    from simulator.results.summary import summary_row
    from simulator.runs.backends import Backend
    from simulator.runs.experiment import HowToRun, run_experiment

    how = HowToRun(
        force=force,
        resume=resume,
        keep_going=keep_going,
        engine=engine.value,
        backend=Backend(backend.value, jobs or cpu_count(), scheduler),
        command=["moesim", *sys.argv[1:]],
    )
    try:
        with told(traceback), Live() as live:
            done = run_experiment(experiment, set_ or [], out, how, live)
    except (KeyboardInterrupt, TerminatedError):
        print("interrupted: what is finished is kept, --resume goes on", file=sys.stderr)
        raise
    for warning in done.warnings:
        print(f"warning: {printable(warning)}", file=sys.stderr)
    if as_json:
        print(json.dumps([summary_row(r) for r in done.runs], indent=2))
    else:
        _show(done)
    for failure in done.failures:
        print(printable(f"failed: {failure.where}: {failure.cause}"), file=sys.stderr)
        if traceback:
            print(failure.details, file=sys.stderr)
    if done.failures:
        figures = sum(failure.where.startswith("figure ") for failure in done.failures)
        for n, what in ((len(done.failures) - figures, "runs"), (figures, "figures")):
            if n:
                print(f"{n} {what} failed and are not in the results", file=sys.stderr)
        raise typer.Exit(1)


def _show(done: Finished) -> None:
    """Print the runs as a table, and where the files are."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(_table(done.runs, tight=console.width < 100))
    if done.already:
        print("these results are complete: nothing was played")
    for line in _largest(done.runs):
        print(line)
    print(f"results: {done.out}")
    for figure in done.figures:
        if figure.suffix != ".csv":
            print(f"figure:  {figure}")


def _largest(runs: list[RunResult]) -> Iterator[str]:
    """Yield how large the caches are that are as large as they can be."""
    from simulator.config.units import format_bytes

    for name in ("gpu_expert_cache", "cpu_expert_cache"):
        asked = (run for run in runs if (run.config.get("memory", {}).get(name) or {}).get("max"))
        sizes = dict.fromkeys(format_bytes(int(str(run.identity[f"{name}_bytes"]))) for run in asked)
        if sizes:
            yield f"{name}: max is {', '.join(sizes)}"


def _table(runs: list[RunResult], *, tight: bool) -> Table:
    """Lay out what tells the runs apart, and the metrics that have a heading."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from simulator.results.metrics import METRICS

    names = ("system", "model", "hardware", "software", "trace")
    told_apart = [name for name in names if len({run.identity[name] for run in runs}) > 1 or name == "system"]
    keys = dict.fromkeys(key for run in runs for key in run.swept)
    swept = [key for key in keys if key not in told_apart]
    if any(run.identity["seed"] != runs[0].identity["seed"] for run in runs):
        told_apart.append("seed")
    table = Table(title=Text(str(runs[0].identity["experiment"]), style="italic"), box=box.SIMPLE_HEAD)
    table.padding = (0, 0 if tight else 1, 0, 0)
    for name in (*told_apart, *swept):
        table.add_column(Text(_heading(name)), overflow="fold")
    for metric in METRICS:
        if metric.heading:
            table.add_column(metric.heading, justify="right", no_wrap=True)
    for run in runs:
        who = [str(run.identity[name]) for name in told_apart] + [
            value(run.swept.get(key, "")) for key in swept
        ]
        table.add_row(
            *map(Text, who), *(four_digits(run.metrics[metric.name]) for metric in METRICS if metric.heading)
        )
    return table


def _heading(key: str) -> str:
    """Return a key in words: ``gpu expert cache fraction`` for ``memory.gpu_expert_cache.fraction``."""
    words = key.removeprefix("memory.").removeprefix("policies.").replace(".", " ").replace("_", " ")
    return textwrap.fill(words, 10)
