"""What several commands are given alike: an experiment, what is set in it, and how failures are told."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

Experiment = Annotated[
    str, typer.Argument(metavar="EXPERIMENT", help="a .yaml file, or a name of `list experiments`")
]
Sets = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="override a dotted key")]
Traceback = Annotated[bool, typer.Option("--traceback", help="print where in the code a failure came from")]


@contextmanager
def told(traceback: bool) -> Iterator[None]:
    """Print the traceback of what fails in the block, where that is asked for."""
    try:
        yield
    except BaseException as error:
        from simulator.runs.faults import RunError, failure, is_failure

        if not is_failure(error):
            raise
        found = error.failure if isinstance(error, RunError) else failure("", error)
        if traceback:
            print(found.details, file=sys.stderr)
        if isinstance(error, Exception):
            raise
        raise RunError(found) from error  # a policy's sys.exit(), say
