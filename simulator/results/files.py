"""The files of a folder of results, written and read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from simulator.config.yaml_file import dump_yaml
from simulator.results.folder import MANIFEST, intact, read_manifest
from simulator.results.metrics import Value
from simulator.results.summary import RunResult, read_summary, write_summary
from simulator.results.tables import TABLES, join_tables

SUMMARY = "summary.csv"
CONFIG = "config.resolved.yaml"
WRITTEN = (SUMMARY, CONFIG, *(f"{name}.parquet" for name in TABLES))


def write_results(
    folder: Path,
    runs: Sequence[RunResult],
    tables: Sequence[Mapping[str, Path]],
    provenance: Mapping[str, Any],
) -> None:
    """Write summary.csv, the TABLES, manifest.json and config.resolved.yaml into a folder.

    ``tables`` has the files of each run's tables by name.
    """
    write_summary(folder / SUMMARY, runs)
    for name in TABLES:
        numbered = [(int(str(run.identity["run"])), of[name]) for run, of in zip(runs, tables, strict=True)]
        join_tables(folder / f"{name}.parquet", numbered)
    (folder / CONFIG).write_text("".join(map(_config, runs)), encoding="utf-8")
    (folder / MANIFEST).write_text(json.dumps(dict(provenance), indent=2) + "\n", encoding="utf-8")


def _config(run: RunResult) -> str:
    """Return a run's experiment as a YAML document that can itself be run."""
    text = dump_yaml(run.config)
    return f"--- # run {run.identity['run']}\n{text}"


def read_summary_rows(folder: Path, config_sha256: str) -> list[dict[str, Value]]:
    """Return the rows of finished results; [] where there are none that are whole, or of something else."""
    if read_manifest(folder).get("config_sha256") != config_sha256 or not intact(folder, WRITTEN):
        return []
    return read_summary(folder / SUMMARY)
