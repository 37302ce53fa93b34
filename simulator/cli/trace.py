"""``moesim trace``: import, inspect, check and edit recorded traces."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulator.errors import InputError
from simulator.files import check_target

if TYPE_CHECKING:
    from rich.table import Table

    from simulator.trace.core import Trace
    from simulator.trace.importers.options import ImportOptions

app = typer.Typer(no_args_is_help=True, help="Import, inspect, check and edit recorded routing traces.")

TracePath = Annotated[Path, typer.Argument(metavar="TRACE", help="a .parquet trace")]
OutPath = Annotated[Path, typer.Option("--out", "-o", help="the .parquet to write")]
Force = Annotated[bool, typer.Option("--force", help="replace what is there")]


@app.command("import")
def import_(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="file or folder that another tool recorded")
    ],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="the .parquet to write [required]")] = None,
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
    column: Annotated[
        list[str] | None, typer.Option(help="records: name of a column, such as experts=my_ids (repeatable)")
    ] = None,
    zero_rows: Annotated[
        str | None, typer.Option(help="missing: rows of zeros are tokens that were not recorded")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="print what each column of records is taken for, and stop")
    ] = False,
    force: Force = False,
) -> None:
    """Turn a trace that another tool recorded into a moesim trace."""
    from simulator.trace.importers.options import ImportOptions, parse_layers
    from simulator.trace.importers.registry import import_trace
    from simulator.trace.parquet import write_trace

    if out is not None:
        check_target(out, [source], force=force)
    elif not explain:
        raise InputError("--out", "missing", "the .parquet to write")
    options = ImportOptions(
        phase=phase,
        axes=tuple(axis.strip() for axis in axes.split(",")) if axes is not None else None,
        key=dict(_pair(text) for text in key or []),
        model=model,
        n_experts=n_experts,
        top_k=top_k,
        moe_layers=parse_layers(moe_layers) if moe_layers is not None else None,
        licence=licence,
        column=dict(_pair(text, "--column") for text in column or []),
        zero_rows=zero_rows,
    )
    if explain:
        _explain(source, options)
        return
    assert out is not None
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
    from simulator.trace.info import summarise

    facts = {**summarise(_chunks(trace)), "file_bytes": trace.stat().st_size}
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    from rich.console import Console

    Console().print(_table(facts))


@app.command()
def validate(trace: TracePath) -> None:
    """Check a trace; says nothing but ok, or the first fault and where it is."""
    n_tokens = sum(chunk.n_tokens for chunk in _chunks(trace))
    print(f"{trace}: ok, {n_tokens} tokens")


@app.command("slice")
def slice_(
    trace: TracePath,
    out: OutPath,
    sequences: Annotated[str | None, typer.Option(help="sequences to keep, such as 0:8,12 (not 8)")] = None,
    positions: Annotated[
        str | None, typer.Option("--tokens", help="positions to keep of each sequence, such as 0:512")
    ] = None,
    phase: Annotated[str | None, typer.Option(help="prefill or decode")] = None,
    layers: Annotated[
        str | None, typer.Option(help="neighbouring MoE layers to keep, by the model's numbers, such as 0:8")
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option("--without", help="a part to leave out, of those that `info` says it offers"),
    ] = None,
    force: Force = False,
) -> None:
    """Keep some sequences, tokens, layers or columns of a trace, whatever its size."""
    from simulator.errors import did_you_mean
    from simulator.trace.edit import OFFERED, described, write_chunks
    from simulator.trace.ranges import parse_ranges
    from simulator.trace.slice_ import PHASES, Cut, cut

    if phase is not None and phase not in PHASES:
        raise InputError("--phase", f"'{phase}'", did_you_mean(phase, PHASES))
    for name in drop or []:
        if name not in OFFERED:
            raise InputError("--without", f"'{name}'", did_you_mean(name, OFFERED))
    texts = {"--sequences": sequences, "--tokens": positions, "--layers": layers}
    ranges = {
        option: parse_ranges(option, text) if text is not None else None for option, text in texts.items()
    }
    choice = Cut(
        sequences=ranges["--sequences"],
        positions=ranges["--tokens"],
        phase=phase,
        layers=ranges["--layers"],
        drop=tuple(drop or ()),
    )
    if not str(choice):
        raise InputError("slice", "nothing says what to keep", "see moesim trace slice --help")
    check_target(out, [trace], force=force)
    chunks = cut(_chunks(trace), choice, described(trace))
    print(f"{out}: {write_chunks(chunks, out)} tokens of {trace}: {choice}")


@app.command()
def merge(
    traces: Annotated[list[Path], typer.Argument(metavar="TRACE...", help="two .parquet traces or more")],
    out: OutPath,
    common: Annotated[
        bool, typer.Option("--common", help="leave out columns that not all of them have")
    ] = False,
    force: Force = False,
) -> None:
    """Join traces of one model; their sequences are renumbered in the order given."""
    from simulator.trace.edit import write_chunks
    from simulator.trace.merge import merge as merge_chunks

    check_target(out, traces, force=force)
    n_tokens = write_chunks(merge_chunks(traces, common=common, read=_chunks), out)
    print(f"{out}: {n_tokens} tokens of {len(traces)} traces")


@app.command()
def weigh(
    trace: TracePath,
    out: OutPath,
    like: Annotated[str, typer.Option(metavar="TRACE", help="a trace with gate weights, of a like model")],
    force: Force = False,
) -> None:
    """Give a trace without gate weights assumed ones: by rank, as another trace has them in the mean."""
    from simulator.trace.edit import write_chunks
    from simulator.trace.find import find_trace
    from simulator.trace.stream import read_chunks
    from simulator.trace.weigh import weighed, weights_by_rank

    check_target(out, [trace], force=force)
    source = find_trace(like)
    weights, kind, _ = weights_by_rank(read_chunks(source), str(source))
    print(f"{out}: {write_chunks(weighed(_chunks(trace), weights, kind, source.stem), out)} tokens")
    print(f"assumed weights by rank: {', '.join(f'{weight:.3f}' for weight in weights)}")


@app.command()
def anonymise(
    trace: TracePath,
    out: OutPath,
    seed: Annotated[
        int | None,
        typer.Option(
            "--permute-experts", metavar="SEED", min=0, help="renumber the experts of each layer too"
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Leave out token ids, prompt source and notes; routing itself still tells of the text."""
    from simulator.trace.anonymise import anonymise as anonymised
    from simulator.trace.edit import write_chunks

    check_target(out, [trace], force=force)
    print(f"{out}: {write_chunks(anonymised(_chunks(trace), seed), out)} tokens")


def _chunks(trace: Path) -> Iterator[Trace]:
    """Read a trace chunk by chunk; on a terminal, say how far it is."""
    from simulator.trace.stream import read_chunks

    return _counted(read_chunks(trace), trace.name)


def _counted(chunks: Iterable[Trace], name: str) -> Iterator[Trace]:
    """Show on a terminal how many tokens have gone by."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description} {task.completed:,.0f} tokens"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=None)
        for chunk in chunks:
            yield chunk
            progress.advance(task, chunk.n_tokens)


def _explain(source: Path, options: ImportOptions) -> None:
    """Print what each column of records is taken for."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from simulator.text import printable
    from simulator.trace.importers.records.importer import explain

    table = Table("column", "taken for")
    for name, ours in explain(source, options):
        table.add_row(Text(printable(name)), Text(ours))
    Console().print(table)
    print("another column: --column experts=NAME, and so for layer, position, sequence, phase, weights, ...")


def _pair(text: str, option: str = "--key") -> tuple[str, str]:
    """Split ``ours=theirs``."""
    ours, equals, theirs = text.partition("=")
    if not (ours and equals and theirs):
        raise InputError(option, f"'{text}'", "write it as experts=NAME")
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
