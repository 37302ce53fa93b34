"""``moesim trace``: import, inspect and check recorded traces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulator.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

app = typer.Typer(no_args_is_help=True, help="Import, inspect and check recorded routing traces.")

TracePath = Annotated[Path, typer.Argument(metavar="TRACE", help="a .parquet trace")]


@app.command("import")
def import_(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="file or folder that another tool recorded")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="the .parquet to write")],
    format_name: Annotated[
        str | None,
        typer.Option("--format", help="one of `list formats` (default: recognised where that is certain)"),
    ] = None,
    phase: Annotated[
        str | None, typer.Option(help="prefill, decode or split:N, where the source does not record it")
    ] = None,
    axes: Annotated[str | None, typer.Option(help="npz: axis order, such as token,layer,k")] = None,
    key: Annotated[list[str] | None, typer.Option(help="npz: name of an array, such as experts=ids")] = None,
    model: Annotated[str | None, typer.Option(help="model name for the header")] = None,
    n_experts: Annotated[
        int | None, typer.Option(help="experts a layer, where the source does not say")
    ] = None,
    top_k: Annotated[int | None, typer.Option(help="experts a token, where the source does not say")] = None,
    moe_layers: Annotated[
        str | None, typer.Option(help="numbers of the MoE layers in the model, such as 1-26 or 1,3,5")
    ] = None,
    licence: Annotated[str | None, typer.Option(help="licence of the trace for the header")] = None,
) -> None:
    """Turn a trace that another tool recorded into a moesim trace."""
    from simulator.trace.importers.options import ImportOptions, parse_layers
    from simulator.trace.importers.registry import import_trace
    from simulator.trace.parquet import write_trace

    options = ImportOptions(
        phase=phase,
        axes=tuple(axis.strip() for axis in axes.split(",")) if axes else None,
        key=dict(_pair(text) for text in key or []),
        model=model,
        n_experts=n_experts,
        top_k=top_k,
        moe_layers=parse_layers(moe_layers) if moe_layers else None,
        licence=licence,
    )
    trace = import_trace(source, format_name, options)
    write_trace(trace, out)
    header = trace.header
    shape = f"{header.n_layers} x {header.n_experts} x {header.top_k}"
    print(f"{out}: {header.model}, {trace.n_tokens} tokens, layers x experts x k = {shape}")


@app.command()
def info(
    trace: TracePath,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON instead of a table")] = False,
) -> None:
    """Show what a trace holds, and how much its routing repeats and concentrates."""
    from simulator.trace.info import summary
    from simulator.trace.parquet import read_trace

    facts = {**summary(read_trace(trace)), "file_bytes": trace.stat().st_size}
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    from rich.console import Console

    Console().print(_table(facts))


@app.command()
def validate(trace: TracePath) -> None:
    """Check a trace; says nothing but ok, or the first fault and where it is."""
    from simulator.trace.parquet import read_trace

    n_tokens = read_trace(trace).n_tokens
    print(f"{trace}: ok, {n_tokens} tokens")


def _pair(text: str) -> tuple[str, str]:
    """Split ``ours=theirs``."""
    ours, equals, theirs = text.partition("=")
    if not (ours and equals and theirs):
        raise InputError("--key", f"'{text}'", "write it as experts=NAME")
    return ours, theirs


def _table(facts: dict[str, Any]) -> Table:
    """Lay the facts out as two columns, statistics a line for each phase, header fields last."""
    from rich.table import Table
    from rich.text import Text

    header = {f"header.{name}": value for name, value in facts["header"].items()}
    table = Table("what", "value")
    for name, value in (facts | header).items():
        if name == "header" or value is None:
            continue
        table.add_row(name, Text(_shown(value)))
    return table


def _shown(value: Any) -> str:
    """Write a fact for people: numbers grouped, lists and phases on one line."""
    if isinstance(value, dict):
        return ", ".join(f"{phase} {number:.3f}" for phase, number in value.items() if number is not None)
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return f"{value:,}" if type(value) is int else str(value)
