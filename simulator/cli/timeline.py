"""``moesim timeline``: what a run did, nanosecond by nanosecond, for a trace viewer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from simulator.cli.arguments import Experiment, Sets, Traceback, told


def timeline(
    experiment: Experiment,
    out: Annotated[Path, typer.Option("--out", "-o", help="JSON file, for Perfetto or chrome://tracing")],
    tokens: Annotated[
        str | None,
        typer.Option(
            metavar="A:B",
            help="passes of the run to show, in order, from A up to and without B, as Python slices (-2: is "
            "the last two); a decode step, a prompt or a chunk of one is a pass (default: the first 20)",
        ),
    ] = None,
    run: Annotated[
        int | None, typer.Option("--run", metavar="N", min=0, help="which run of a sweep (default: 0)")
    ] = None,
    set_: Sets = None,
    force: Annotated[bool, typer.Option("--force", help="replace an existing file")] = False,
    traceback: Traceback = False,
) -> None:
    """Draw compute, transfers and caches of some passes of a run on one time axis."""
    from simulator.timeline import choose_run, write_timeline

    with told(traceback):
        chosen = choose_run(experiment, set_ or [], run or 0)
        done = write_timeline(chosen.spec, tokens, out, force=force)
    if run is None and chosen.n_runs > 1:
        print(f"note: run 0 of {chosen.n_runs}; another with --run N", file=sys.stderr)
    shown = f"passes {done.start} to {done.stop - 1} of {done.n_passes}"
    print(f"{out}: {shown}, {done.ns / 1e6:.3f} ms, {done.n_events} events")
