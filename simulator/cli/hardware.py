"""``moesim hardware``: a machine of parts, shown as a profile; and the parts of this machine."""

from __future__ import annotations

import json
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Show a machine, or find out what this one is made of.")


@app.command()
def show(
    machine: Annotated[
        str,
        typer.Argument(
            metavar="MACHINE",
            help="a name of `list hardware`, a path, or parts: 'gpu=rtx-4070, host=ryzen-7600, "
            "memory=2x32GB DDR5-6000'",
        ),
    ],
) -> None:
    """Print a machine as a hardware profile, every number with its source."""
    from simulator.config.yaml_file import dump_yaml
    from simulator.machine.find import load_machine

    print(dump_yaml(load_machine(machine).model_dump(mode="json", exclude_none=True)), end="")


@app.command()
def detect(as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False) -> None:
    """Print the parts of this machine, as an experiment says them; and what could not be told."""
    from simulator.machine.detect import detect as detected

    found = detected()
    if as_json:
        print(json.dumps({"hardware": found.parts, "unknown": found.unknown}, indent=2))
        return
    print("hardware:")
    for key, value in found.parts.items():
        print(f"  {key}: {value}")
    for line in found.unknown:
        print(f"  # {line}")
