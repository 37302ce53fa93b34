"""``moesim curve``: hit rates of policies at many cache sizes, from a trace alone."""

from __future__ import annotations

import csv
import io
import json
import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.files import check_target

if TYPE_CHECKING:
    from simulator.curve.curve import Point


class Partition(StrEnum):
    """How the cache is divided."""

    GLOBAL = "global"
    LAYER = "layer"


class Evict(StrEnum):
    """When victims leave."""

    ON_INSERT = "on-insert"
    AFTER_EVENT = "after-event"


Trace = Annotated[str, typer.Argument(metavar="TRACE", help="a name of `list traces`, or a .parquet trace")]
Policies = Annotated[
    str, typer.Option(metavar="NAMES", help="eviction policies, and lfu-surviving: counts survive eviction")
]
Sizes = Annotated[
    str, typer.Option(metavar="SIZES", help="250MiB,2GiB; 10%,25%; experts such as 16,64; or all")
]
Model = Annotated[
    str | None, typer.Option(help="whose experts' bytes count (default: the trace's; else each counts 1)")
]
Out = Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="CSV (default: stdout)")]
Figure = Annotated[Path | None, typer.Option(metavar="FILE", help="draw the curves: .png, .pdf or .svg")]


def curve(
    trace: Trace,
    policies: Policies = "lru,lfu,fifo,belady",
    capacities: Sizes = "all",
    partition: Annotated[Partition, typer.Option(help="one cache, or one a layer")] = Partition.GLOBAL,
    evict: Annotated[Evict, typer.Option(help="as each comes, or after the layer step")] = Evict.ON_INSERT,
    model: Model = None,
    precision: Annotated[str | None, typer.Option(help="of the experts (default: the model's)")] = None,
    out: Out = None,
    figure: Figure = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    force: Annotated[bool, typer.Option("--force", help="replace what is there")] = False,
) -> None:
    """Count the hits of eviction policies at many cache sizes at once; no time is modelled."""
    from simulator.curve.capacities import capacities as parsed
    from simulator.curve.compiled import COMPILES, NOTE
    from simulator.curve.curve import Asked
    from simulator.curve.curve import curve as counted
    from simulator.curve.sizes import expert_bytes
    from simulator.trace.find import find_trace
    from simulator.trace.footer import read_trace_header

    for target in (out, figure):
        if target is not None:
            check_target(target, force=force)
    recorded = find_trace(trace)
    header = read_trace_header(recorded)
    sizes, unit = expert_bytes(header, model, precision)
    sought = parsed(capacities, sizes, header.n_experts)
    if not COMPILES:
        print(f"note: {NOTE}", file=sys.stderr)
    asked = Asked(
        recorded, sizes, partition.value, "on_insert" if evict is Evict.ON_INSERT else "after_event"
    )
    points = counted(asked, [name.strip() for name in policies.split(",")], sought)
    if unit == "experts":
        print("note: the trace has no bytes: capacity_bytes and read_bytes count experts", file=sys.stderr)
    if figure is not None:
        _draw(points, unit, figure)
    if as_json:
        print(json.dumps([asdict(point) for point in points], indent=2))
    elif out is None:
        sys.stdout.write(_csv(points))
    if out is not None:
        from simulator.whole import whole

        with whole(out) as beside:
            beside.write_text(_csv(points), encoding="utf-8")
        print(f"{out}: {len(points)} points", file=sys.stderr)


def _draw(points: list[Point], unit: str, figure: Path) -> None:
    from simulator.plots.curve import draw

    curves: dict[str, list[tuple[int, float]]] = {}
    for point in points:
        if point.hit_rate is not None:
            curves.setdefault(point.policy, []).append((point.capacity_bytes, point.hit_rate))
    draw(curves, unit, figure)
    print(f"figure:  {figure}", file=sys.stderr)


def _csv(points: list[Point]) -> str:
    buffer = io.StringIO()
    rows = csv.DictWriter(buffer, list(asdict(points[0])), lineterminator="\n")
    rows.writeheader()
    rows.writerows(asdict(point) for point in points)
    return buffer.getvalue()
