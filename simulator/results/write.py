"""Results: what a run folder holds, written and read."""

from __future__ import annotations

import csv
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from simulator import __version__
from simulator.config.yaml_file import dump_yaml
from simulator.results.folder import MANIFEST, intact, read_manifest
from simulator.results.metrics import METRICS, Collector, Value
from simulator.text import csv_cell

IDENTITY = (
    "run", "experiment", "system", "model", "hardware", "trace", "seed", "gpu_expert_cache_bytes",
    "cpu_expert_cache_bytes",
)  # fmt: skip
FLAGS = ("trace_synthetic", "hardware_measured", "knows_future", "learnt_from", "assumed", "warnings")
TABLES = ("tokens", "experts")
"""The Parquet tables of a run folder, beside its summary."""
SUMMARY = "summary.csv"
CONFIG = "config.resolved.yaml"
WRITTEN = (SUMMARY, CONFIG, *(f"{name}.parquet" for name in TABLES))
PACKAGES = ("simpy", "numpy", "pandas", "pyarrow", "pydantic", "matplotlib")


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


def write_results(
    folder: Path,
    runs: Sequence[RunResult],
    tables: Sequence[Mapping[str, Path]],
    provenance: Mapping[str, Any],
) -> None:
    """Write summary.csv, the TABLES, manifest.json and config.resolved.yaml into a folder.

    ``tables`` has the files of each run's tables by name.
    """
    _write_summary(folder / SUMMARY, runs)
    for name in TABLES:
        numbered = [(int(str(run.identity["run"])), of[name]) for run, of in zip(runs, tables, strict=True)]
        _join(folder / f"{name}.parquet", numbered)
    (folder / CONFIG).write_text("".join(map(_config, runs)), encoding="utf-8")
    (folder / MANIFEST).write_text(json.dumps(dict(provenance), indent=2) + "\n", encoding="utf-8")


def _config(run: RunResult) -> str:
    """Return a run's experiment as a YAML document that can itself be run."""
    text = dump_yaml(run.config)
    return f"--- # run {run.identity['run']}\n{text}"


def summary_row(run: RunResult) -> dict[str, Value]:
    """Return a run's row of the summary."""
    swept = {key: _cell(value) for key, value in run.swept.items() if key not in run.identity}
    return {**run.identity, **swept, **run.metrics, **run.flags}


def _cell(value: object) -> Value:
    return (
        value if value is None or isinstance(value, (int, float, str)) else json.dumps(value, sort_keys=True)
    )


def _write_summary(path: Path, runs: Sequence[RunResult]) -> None:
    swept = [key for key in dict.fromkeys(key for run in runs for key in run.swept) if key not in IDENTITY]
    columns = [*IDENTITY, *swept, *(metric.name for metric in METRICS), *FLAGS]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        for run in runs:
            writer.writerow({key: _written(value) for key, value in summary_row(run).items()})


def _written(value: Value) -> Value:
    return "" if value is None else csv_cell(value) if isinstance(value, str) else value


def read_summary_rows(folder: Path, config_sha256: str) -> list[dict[str, Value]]:
    """Return the rows of finished results; [] where there are none that are whole, or of something else.

    Cells of metrics and numbers of IDENTITY are numbers where they look so, and None where they are empty.
    """
    if read_manifest(folder).get("config_sha256") != config_sha256 or not intact(folder, WRITTEN):
        return []
    text = (folder / SUMMARY).read_text(encoding="utf-8")
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


def token_table(collector: Collector) -> Any:
    """Return a run's rows as a ``pyarrow.Table``: one row a (pass, sequence)."""
    import pyarrow as pa

    rows = dict(collector.rows)
    decoded = rows.pop("decoded")
    columns = {name: pa.array(values, pa.int64()) for name, values in rows.items()}
    table = pa.table(columns)
    phase = pa.array(["decode" if one else "prefill" for one in decoded], pa.string())
    return table.add_column(3, "phase", phase)


def expert_table(lookups: Any, resident: Mapping[int, int], n_versions: int, steps: int) -> Any:
    """Return a ``pyarrow.Table`` with a row for each expert: how often demanded, how long in the top cache.

    ``lookups`` [layer, expert] counts demands; ``resident`` has the layer steps, of ``steps``, that each
    version key was counted into tier 0.
    """
    import numpy as np
    import pyarrow as pa

    by_version = np.zeros((lookups.size, n_versions), dtype=np.int64)
    for key, n in resident.items():
        by_version[divmod(key, n_versions)] = n
    layer, expert = (index.ravel() for index in np.indices(lookups.shape))
    return pa.table(
        {
            "layer": pa.array(layer, pa.int32()),
            "expert": pa.array(expert, pa.int32()),
            "lookups": pa.array(lookups.ravel(), pa.int64()),
            "resident_steps": pa.array(by_version[:, 0], pa.int64()),
            "resident_low_steps": pa.array(by_version[:, 1:].sum(axis=1), pa.int64()),
            "steps": pa.array([steps] * lookups.size, pa.int64()),
        }
    )


def _join(path: Path, files: Sequence[tuple[int, Path]]) -> None:
    """Join one table of all runs under their numbers; a column that a run lacks is empty there."""
    import pyarrow as pa
    from pyarrow import parquet

    fields = [pa.field("run", pa.int32())]
    for _, file in files:
        fields += [field for field in parquet.read_schema(file) if field.name not in {f.name for f in fields}]
    schema = pa.schema(fields)
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for number, file in files:
            table = parquet.read_table(file)
            n = table.num_rows
            columns = {name: table.column(name) for name in table.column_names}
            columns["run"] = pa.array([number] * n, pa.int32())
            missing = {field.name: pa.nulls(n, field.type) for field in schema if field.name not in columns}
            writer.write_table(pa.table(columns | missing, schema=schema))


def provenance(
    config_sha256: str, runs: Sequence[RunResult], command: Sequence[str], started: datetime
) -> dict[str, Any]:
    """Return the manifest: what ran, on what, from which files."""
    return {
        "schema_version": 1,
        "moesim_version": __version__,
        "git_commit": _git_commit(),
        "config_sha256": config_sha256,
        "inputs": sorted({f"{name}: {digest}" for run in runs for name, digest in run.inputs.items()}),
        "seeds": sorted({int(str(run.identity["seed"])) for run in runs}),
        "runs": len(runs),
        "engine": "simpy",
        "command": list(command),
        "started_utc": started.isoformat(timespec="seconds"),
        "finished_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": f"{sys.platform} {platform.machine()}",
        "packages": {name: metadata.version(name) for name in PACKAGES},
    }


def _git_commit() -> str | None:
    """Return the commit of the checkout that this code is in, if it is in one."""
    here = Path(__file__).resolve().parent.parent
    if not (here / ".git").exists():
        return None
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    found = subprocess.run(
        ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=40"],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    return found.stdout.strip() or None
