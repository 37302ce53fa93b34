"""The summary: one row for each run, who it was and its metrics."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simulator.results.metrics import METRICS, Value
from simulator.text import csv_cell

IDENTITY = (
    "run", "experiment", "system", "model", "hardware", "software", "trace", "seed", "gpu_expert_cache_bytes",
    "cpu_expert_cache_bytes",
)  # fmt: skip
FLAGS = (
    "trace_synthetic",
    "hardware_measured",
    "software_measured",
    "knows_future",
    "learnt_from",
    "assumed",
    "warnings",
)


@dataclass(slots=True)
class RunResult:
    """What one run leaves beside its tokens: who it was, its metrics, its warnings. Plain data throughout."""

    identity: dict[str, Value]
    swept: dict[str, Any]
    metrics: dict[str, Value]
    flags: dict[str, Value]
    config: dict[str, Any]
    inputs: dict[str, str] = field(default_factory=dict)
    digest: str = ""
    """The hash of everything that decided it."""


def summary_row(run: RunResult) -> dict[str, Value]:
    """Return a run's row of the summary."""
    swept = {key: _cell(value) for key, value in run.swept.items() if key not in run.identity}
    return {**run.identity, **swept, **run.metrics, **run.flags}


def _cell(value: object) -> Value:
    return (
        value if value is None or isinstance(value, (int, float, str)) else json.dumps(value, sort_keys=True)
    )


def write_summary(path: Path, runs: Sequence[RunResult]) -> None:
    """Write the rows of all runs, as CSV."""
    swept = [key for key in dict.fromkeys(key for run in runs for key in run.swept) if key not in IDENTITY]
    columns = [*IDENTITY, *swept, *(metric.name for metric in METRICS), *FLAGS]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        for run in runs:
            writer.writerow({key: _written(value) for key, value in summary_row(run).items()})


def _written(value: Value) -> Value:
    return "" if value is None else csv_cell(value) if isinstance(value, str) else value


def read_summary(path: Path) -> list[dict[str, Value]]:
    """Return the rows of a summary; [] where it lacks a column.

    Cells of metrics and numbers of IDENTITY are numbers where they look so, and None where they are empty.
    """
    text = path.read_text(encoding="utf-8")
    numbers = {"run", "seed", "gpu_expert_cache_bytes", "cpu_expert_cache_bytes"}
    numbers |= {metric.name for metric in METRICS}
    rows = csv.DictReader(text.splitlines())
    if not {*IDENTITY, *FLAGS, *(metric.name for metric in METRICS)} <= {*(rows.fieldnames or ())}:
        return []
    return [{name: _parsed(cell) if name in numbers else cell for name, cell in row.items()} for row in rows]


def _parsed(cell: str) -> Value:
    if not cell:
        return None
    for kind in (int, float):
        with suppress(ValueError):
            return kind(cell)
    return cell
