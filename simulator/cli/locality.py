"""``moesim trace locality``: what a trace's routing is like, and whether its model suits offloading."""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Phase(StrEnum):
    """Which tokens are analysed."""

    ALL = "all"
    PREFILL = "prefill"
    DECODE = "decode"


def locality(
    trace: Annotated[Path, typer.Argument(metavar="TRACE", help="a .parquet trace")],
    out: Annotated[Path, typer.Option("--out", "-o", help="folder for table, figures and report")],
    phase: Annotated[Phase, typer.Option(help="the tokens that count")] = Phase.ALL,
    force: Annotated[bool, typer.Option("--force", help="replace the results of another trace")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the summary as JSON")] = False,
) -> None:
    """Measure reuse, popularity, foresight, SRP and SCH; say whether the model suits offloading."""
    from simulator import __version__
    from simulator.plots.locality import TABLE, draw_locality
    from simulator.results.folder import MANIFEST, check_output, file_sha256, fresh_folder
    from simulator.trace.locality.analyse import analyse
    from simulator.trace.locality.published import compare, published_rows
    from simulator.trace.locality.report import markdown, summary
    from simulator.trace.locality.table import to_csv
    from simulator.trace.locality.verdict import judge
    from simulator.trace.parquet import read_trace

    recorded = read_trace(trace)
    of = f"{trace.name}: {file_sha256(trace)}"
    digest = hashlib.sha256(f"trace locality {of} {phase}".encode()).hexdigest()
    check_output(out, digest, force=force)
    found = analyse(recorded, phase)
    verdict, published = judge(found), compare(found)
    facts = summary(found, verdict, published)
    manifest = {"schema_version": 1, "moesim_version": __version__, "config_sha256": digest, "inputs": [of]}
    with fresh_folder(out) as folder:
        rows = [*found.rows, *published_rows(published)]
        (folder / TABLE).write_text(to_csv(rows, phase), encoding="utf-8")
        (folder / "summary.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        (folder / "report.md").write_text(markdown(found, verdict, published), encoding="utf-8")
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        draw_locality(folder)
    print(json.dumps(facts, indent=2) if as_json else f"{verdict.sentence}\nreport:  {out / 'report.md'}")
