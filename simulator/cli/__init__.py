"""The command line: the only place that prints.

Exit status: 0 done, 2 bad input (one line on stderr that says what to change), 1 a fault of ours.
"""

from __future__ import annotations

import signal
import sys

import typer

from simulator.cli import trace
from simulator.cli.lists import list_, schema
from simulator.cli.plot import plot
from simulator.cli.record import record
from simulator.cli.run import run
from simulator.errors import InputError

app = typer.Typer(
    name="moesim",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Replay recorded MoE routing through a model of GPU, CPU and SSD memory.",
)
app.command("run")(run)
app.command("plot")(plot)
app.command("list")(list_)
app.command("schema")(schema)
trace.app.command("record")(record)
app.add_typer(trace.app, name="trace")


def _version(value: bool) -> None:
    if value:
        from simulator import __version__

        print(f"moesim {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="print the version"
    ),
) -> None:
    """Trace-driven simulation of Mixture-of-Experts offloading."""
    del version


def main() -> None:
    """Run the command line; bad input is one line and status 2. SIGTERM unwinds as ctrl-C does."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        app()
    except InputError as error:
        print(f"moesim: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
