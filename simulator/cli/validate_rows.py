"""``moesim validate measured|published``: what others measured, beside our simulation."""

from __future__ import annotations

import json
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.cli.progress import Live

if TYPE_CHECKING:
    from simulator.validate.rows.load import Kind
    from simulator.validate.rows.run import RowsDone

Out = Annotated[Path, typer.Option("--out", "-o", help="folder for the report")]
From = Annotated[
    Path | None, typer.Option("--from", metavar="PATH", help="rows of this file or folder, not those shipped")
]
Only = Annotated[str | None, typer.Option(metavar="GLOB", help="rows whose id matches, such as 'hobbit-*'")]
Force = Annotated[bool, typer.Option("--force", help="replace another validation's results")]
Json = Annotated[bool, typer.Option("--json", help="print the rows as JSON")]


def measured(
    out: Out, from_: From = None, only: Only = None, force: Force = False, as_json: Json = False
) -> None:
    """Simulate what was measured of public engines; write table, figure and page."""
    _validate("measured", out, from_, only, force=force, as_json=as_json)


def published(
    out: Out, from_: From = None, only: Only = None, force: Force = False, as_json: Json = False
) -> None:
    """Simulate what papers published of their systems; write table, figure and page."""
    _validate("published", out, from_, only, force=force, as_json=as_json)


def _validate(
    kind: Kind, out: Path, source: Path | None, only: str | None, *, force: bool, as_json: bool
) -> None:
    from simulator.validate.rows.run import validate_rows
    from simulator.validate.rows.table import rows_of

    with Live() as live:
        done = validate_rows(kind, out, source=source, only=only, force=force, progress=live)
    if as_json:
        print(json.dumps(rows_of(done.judged), indent=2))
        return
    _show(done)
    print(f"results: {out}")


def _show(done: RowsDone) -> None:
    for kind in done.errors:
        median = f"median error {kind.median:.0%}" if isfinite(kind.median) else "most refused"
        said = f"{kind.rows} rows, {median}, {kind.near:.0%} within 30 %"
        print(f"{kind.kind}: {said}" + (f", {kind.refused} refused" if kind.refused else ""))
    if done.ordered:
        print(f"orderings: {sum(pair.agrees for pair in done.ordered)} of {len(done.ordered)} agree")
