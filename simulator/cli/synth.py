"""``moesim trace synth``: a trace that was drawn, not recorded."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulator.errors import InputError
from simulator.files import check_target

if TYPE_CHECKING:
    from simulator.trace.core import TraceHeader
    from simulator.trace.synth.parameters import Parameters
    from simulator.trace.synth.report import Row

Number = float | None
FREE = {"sequences", "prefill", "decode", "predictions", "seed"}


def synth(
    out: Annotated[Path, typer.Option("--out", "-o", help="the .parquet to write")],
    params: Annotated[Path | None, typer.Option(help="YAML file of parameters; options override it")] = None,
    like: Annotated[Path | None, typer.Option(metavar="TRACE", help="fit the parameters to a trace")] = None,
    like_statistics: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="fit them to published statistics (a file, or mixtral-8x7b)"),
    ] = None,
    model: Annotated[str | None, typer.Option(help="shape: a model of `list models`")] = None,
    layers: Annotated[int | None, typer.Option(help="shape: MoE layers")] = None,
    experts: Annotated[int | None, typer.Option(help="shape: experts a layer")] = None,
    top_k: Annotated[int | None, typer.Option(help="shape: experts a token")] = None,
    sequences: Annotated[int | None, typer.Option(help="sequences")] = None,
    prefill: Annotated[int | None, typer.Option(help="prompt tokens of each sequence")] = None,
    decode: Annotated[int | None, typer.Option(help="decoded tokens of each sequence")] = None,
    skew: Annotated[
        Number, typer.Option(help="Zipf exponent of the experts' popularity (0: all equal)")
    ] = None,
    stickiness: Annotated[
        Number,
        typer.Option(help="nats that being first choice for the previous token adds to an expert's logit"),
    ] = None,
    coupling: Annotated[
        Number, typer.Option(help="nats that the choice of the expert before it in the previous layer adds")
    ] = None,
    domains: Annotated[int | None, typer.Option(help="domains, each with a popularity of its own")] = None,
    domain_strength: Annotated[
        Number, typer.Option(help="standard deviation, in nats, of what a domain adds")
    ] = None,
    drift: Annotated[Number, typer.Option(help="chance at each token to draw the domain anew")] = None,
    concentration: Annotated[
        Number, typer.Option(help="gate weights are the softmax of this times the logits")
    ] = None,
    predict: Annotated[
        str | None,
        typer.Option(help="accuracy of recorded predictions 1, 2, ... layers ahead, such as 0.96,0.9"),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="what is drawn")] = None,
    force: Annotated[bool, typer.Option("--force", help="replace what is there")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON instead of a table")] = False,
) -> None:
    """Draw a synthetic trace, labelled as such, from parameters that are given or fitted."""
    from simulator.trace.parquet import TraceWriter
    from simulator.trace.synth.generate import synthesise
    from simulator.trace.synth.report import as_csv, as_yaml

    options = {
        name: value
        for name, value in {
            "model": model, "layers": layers, "experts": experts, "top_k": top_k,
            "sequences": sequences, "prefill": prefill, "decode": decode, "skew": skew,
            "stickiness": stickiness, "coupling": coupling, "domains": domains,
            "domain_strength": domain_strength, "drift": drift, "concentration": concentration,
            "predictions": _accuracies(predict), "seed": seed,
        }.items()
        if value is not None
    }  # fmt: skip
    if sum(source is not None for source in (params, like, like_statistics)) > 1:
        raise InputError(
            "moesim trace synth",
            "several sources of parameters",
            "one of --params, --like, --like-statistics",
        )
    table, fitted = out.with_suffix(".fit.csv"), out.with_suffix(".params.yaml")
    for target in (out, table, fitted) if like or like_statistics else (out,):
        check_target(target, [one for one in (params, like) if one], force=force)
    parameters, header, fitted_to, rows = _parameters(params, like, like_statistics, options)
    n_tokens = 0
    with TraceWriter(out) as writer:
        for chunk in synthesise(parameters, header, fitted_to):
            writer.append(chunk)
            n_tokens += chunk.n_tokens
            header = chunk.header
    if rows:
        table.write_text(as_csv(rows), encoding="utf-8")
        fitted.write_text(as_yaml(parameters, out.parent), encoding="utf-8")
    if as_json:
        facts = {"trace": str(out), "tokens": n_tokens, "parameters": parameters.model_dump(mode="json")}
        print(json.dumps({**facts, "fit": [asdict(row) for row in rows]}, indent=2))
        return
    _show(rows)
    shape = f"{header.n_layers} x {header.n_experts} x {header.top_k}"
    print(f"{out}: {header.model}, {n_tokens} tokens, layers x experts x k = {shape}")
    if rows:
        print(f"the table is in {table}, the parameters in {fitted}")


def _parameters(
    params: Path | None, like: Path | None, like_statistics: str | None, options: dict[str, Any]
) -> tuple[Parameters, TraceHeader, str, list[Row]]:
    """Return the parameters, the shape, what they were fitted to, and how well."""
    from simulator.config.paths import anchored
    from simulator.config.yaml_file import read_yaml, validate_mapping
    from simulator.trace.synth import published, report
    from simulator.trace.synth.like import fit_to_trace
    from simulator.trace.synth.parameters import Parameters
    from simulator.trace.synth.shape import header_of

    seed = options.get("seed", 0)
    if like is not None:
        from simulator.trace.parquet import read_trace

        _refuse_fitted(options, "--like")
        trace = read_trace(like)
        fit, real = fit_to_trace(trace, seed)
        header, fitted_to = trace.header, f"{like.name} ({trace.header.model})"
        rows = report.compare_traces(real, fit.statistics)
    elif like_statistics is not None:
        _refuse_fitted(options, "--like-statistics")
        statistics, path = published.load_published(like_statistics)
        fit, targets = published.fit_to_published(statistics, str(path), seed)
        header, fitted_to = header_of(fit.parameters), f"published statistics: {statistics.name}"
        rows = report.compare_targets(targets, fit.statistics)
    else:
        document = read_yaml(params) if params else None
        data, lines = (document.data, document.lines) if document else ({}, {})
        data = anchored(data, params.parent) if params else data
        parameters = validate_mapping(
            {**data, **options}, Parameters, str(params or "moesim trace synth"), lines
        )
        return parameters, header_of(parameters), "", []
    data = fit.parameters.model_dump() | options
    return validate_mapping(data, Parameters, "moesim trace synth"), header, fitted_to, rows


def _refuse_fitted(options: dict[str, Any], source: str) -> None:
    """Refuse options that a fit decides. Errors: InputError."""
    if given := sorted(set(options) - FREE):
        hint = "it decides that; allowed: --sequences, --prefill, --decode, --predict, --seed"
        raise InputError(f"--{given[0].replace('_', '-')}", f"not with {source}", hint)


def _accuracies(text: str | None) -> tuple[float, ...] | None:
    """Return the numbers of ``0.96,0.9``. Errors: InputError (no numbers)."""
    try:
        return tuple(float(part) for part in text.split(",")) if text is not None else None
    except ValueError:
        raise InputError("--predict", f"'{text}'", "shares by distance, such as 0.96,0.9") from None


def _show(rows: list[Row]) -> None:
    """Print how well the fit reproduces what it was fitted to."""
    if not rows:
        return
    from rich.console import Console
    from rich.table import Table

    published = all(row.worst_layer is None for row in rows)
    table = Table("statistic", "layer" if published else "worst layer")
    for title in ("published" if published else "real", "synthetic", "difference"):
        table.add_column(title, justify="right")
    for row in rows:
        if published:
            second = "mean" if row.layer is None else str(row.layer)
        else:
            second = "" if row.worst_layer is None else f"±{row.worst_layer:.3f}"
        numbers = (f"{row.real:.3f}", f"{row.synthetic:.3f}", f"{row.difference:+.3f}")
        table.add_row(row.meaning, second, *numbers)
    Console().print(table)
