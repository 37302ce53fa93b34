"""The command line: the only place that prints.

Exit status: 0 done, 2 bad input or a policy that broke (one line on stderr that says what to change), 1 a
fault of ours, runs that failed under --keep-going or a pipe that nobody reads, 130 and 143 interrupted.
"""

from __future__ import annotations

import signal
import sys
from typing import Any, NoReturn

import typer

from simulator.cli import hardware, trace, validate
from simulator.cli.calibrate import calibrate
from simulator.cli.compare import compare
from simulator.cli.curve import curve
from simulator.cli.effects import Effective
from simulator.cli.explain import explain
from simulator.cli.fetch import fetch
from simulator.cli.lists import list_, schema
from simulator.cli.locality import locality
from simulator.cli.plot import plot
from simulator.cli.record import record
from simulator.cli.report import report
from simulator.cli.run import run
from simulator.cli.streams import mend_streams
from simulator.cli.synth import synth
from simulator.cli.timeline import timeline
from simulator.cli.tune import tune
from simulator.errors import InputError, TerminatedError
from simulator.text import printable

app = typer.Typer(
    name="moesim",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Replay recorded MoE routing through a model of GPU, CPU and SSD memory.",
)
app.command("run", cls=Effective)(run)
app.command("plot")(plot)
app.command("compare", cls=Effective)(compare)
app.command("report")(report)
app.command("explain")(explain)
app.command("curve")(curve)
app.command("timeline")(timeline)
app.command("tune")(tune)
app.command("calibrate")(calibrate)
app.command("list")(list_)
app.command("schema")(schema)
trace.app.command("fetch", cls=Effective)(fetch)
trace.app.command("record", cls=Effective)(record)
trace.app.command("synth")(synth)
trace.app.command("locality")(locality)
app.add_typer(trace.app, name="trace")
app.add_typer(validate.app, name="validate")
app.add_typer(hardware.app, name="hardware")


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


USAGE = typer.BadParameter.__mro__[1]  # typer brings a click of its own: its UsageError


def main() -> None:
    """Run the command line; bad input is one line and status 2. SIGTERM unwinds as ctrl-C does."""
    mend_streams()
    signal.signal(signal.SIGTERM, _terminate)
    try:
        status = app(prog_name="moesim", standalone_mode=False)
        sys.stdout.flush()  # a full disk is told here, not when Python ends
        sys.exit(status)
    except InputError as error:
        _refuse(str(error), error.status)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        _refuse(f"{error.filename or 'the system'}: {error.strerror or error}")
    except typer.Abort:
        sys.exit(130)
    except Exception as error:
        if isinstance(error, USAGE):
            _refuse_usage(error)
        from simulator.runs.faults import failure

        found = failure("", error)
        if found.ours:
            raise
        _refuse(found.cause)


def _terminate(*_: object) -> NoReturn:
    raise TerminatedError(143)


def _refuse(line: str, status: int = 2) -> NoReturn:
    print(f"moesim: {printable(' '.join(line.split()))}", file=sys.stderr)
    sys.exit(status)


def _refuse_usage(error: Any) -> NoReturn:
    """Say in one line what is wrong with the words of a command; the help that no words bring says itself."""
    command = error.ctx.command_path if error.ctx else "moesim"
    if type(error).__name__ == "NoArgsIsHelpError":
        if message := error.format_message():
            print(message, file=sys.stderr)
        sys.exit(2)
    _refuse(f"{error.format_message().rstrip('.')} (see {command} --help)")
