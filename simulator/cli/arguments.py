"""What several commands are given alike: an experiment, and what is set in it."""

from __future__ import annotations

from typing import Annotated

import typer

Experiment = Annotated[
    str, typer.Argument(metavar="EXPERIMENT", help="a .yaml file, or a name of `list experiments`")
]
Sets = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="override a dotted key")]
