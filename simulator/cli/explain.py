"""``moesim explain``: why a run is as fast as it is, and what would help."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulator.cli.arguments import Sets, Traceback, told
from simulator.numerals import four_digits

if TYPE_CHECKING:
    from rich.console import Console

    from simulator.explain.diagnosis import Diagnosis


def explain(
    source: Annotated[
        str,
        typer.Argument(
            metavar="EXPERIMENT|DIR", help="a .yaml file, a name of `list experiments`, or a results folder"
        ),
    ],
    run: Annotated[
        int | None, typer.Option("--run", metavar="N", min=0, help="which run of a sweep (default: 0)")
    ] = None,
    set_: Sets = None,
    as_json: Annotated[bool, typer.Option("--json", help="print all of it as JSON")] = False,
    traceback: Traceback = False,
) -> None:
    """Say what a run is bound by, why it misses, and what one change at a time would bring."""
    from simulator.explain.choose import choose
    from simulator.explain.diagnosis import explain as explained

    with told(traceback):
        spec, n_runs = choose(source, set_ or [], run or 0)
        if run is None and n_runs > 1:
            print(f"note: run 0 of {n_runs}; another with --run N", file=sys.stderr)
        with _bar() as step:
            found = explained(spec, step)
    if as_json:
        print(json.dumps(_plain(found), indent=2))
    else:
        _show(found)


def _bar() -> Any:
    """Return a bar on a terminal's stderr, which is told of each run that is played."""
    from contextlib import contextmanager

    from rich.console import Console
    from rich.progress import Progress

    @contextmanager
    def shown() -> Any:
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("one change at a time", total=None)
            yield lambda done, of: bar.update(task, completed=done, total=of)

    return shown()


def _plain(found: Diagnosis) -> dict[str, Any]:
    """Return a diagnosis as JSON has it."""
    return {
        "system": found.run.identity["system"],
        "tokens_per_second": found.run.metrics["tokens_per_second"],
        "sentences": found.sentences,
        "times_ms": dict(found.times.ms),
        "bound_by": found.times.bound_by,
        "misses": asdict(found.misses),
        "prefetching": asdict(found.prefetching),
        "waits_ns_by_layer": found.waits_ns,
        "what_if": [asdict(one) for one in found.what_if],
        "warnings": [line for line in str(found.run.flags["warnings"]).split(" | ") if line],
        "assumed": [line for line in str(found.run.flags["assumed"]).split(" | ") if line],
    }


def _show(found: Diagnosis) -> None:
    from rich.console import Console

    from simulator.explain.times import PARTS
    from simulator.text import printable

    console = Console(width=None if sys.stdout.isatty() else 120)
    who = (found.run.identity[name] for name in ("system", "model", "hardware", "software", "trace"))
    speed = four_digits(found.run.metrics["tokens_per_second"])
    console.print(printable(f"{', '.join(map(str, who))}: {speed} tokens/s"), markup=False, highlight=False)
    for sentence in found.sentences:
        print(f"- {sentence}")
    _table(console, "A decoded token", ("where its time goes", "ms", "share"), [
        (PARTS[label], four_digits(ms), f"{found.times.share(label):.0%}")
        for label, ms in found.times.ms.items()
    ])  # fmt: skip
    _table(console, "One change at a time", ("change", "tokens/s", "gain"), [
        (one.name + (" (a bound)" if one.bound else ""), four_digits(one.tokens_per_second),
         one.refused or ("" if one.gain is None else f"{one.gain:.2f}x"))
        for one in found.what_if
    ])  # fmt: skip
    if any(one.bound for one in found.what_if):
        print("A bound knows the future, or is nothing that there is: it shows how much there is to win.")
    for warning in str(found.run.flags["warnings"]).split(" | "):
        if warning:
            print(f"warning: {printable(warning)}", file=sys.stderr)


def _table(console: Console, title: str, headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)
