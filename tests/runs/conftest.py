"""An experiment of eight runs, and its results when nothing disturbs it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from simulator.runs.experiment import run_experiment
from tests.runs.sweeps import tables
from tests.sweep_files import write_short_trace

SYSTEMS = ["lru-on-demand", "hobbit", "fiddler", "lru-gate-lookahead"]


@pytest.fixture(scope="session")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an experiment of eight short runs."""
    folder = tmp_path_factory.mktemp("sweep")
    write_short_trace(folder / "t.parquet")
    text = {
        "name": "e",
        "model": "olmoe-1b-7b",
        "hardware": "rtx4090-pcie4",
        "trace": str(folder / "t.parquet"),
        "memory": {"gpu_expert_cache": {"fraction": 0.25}},
        "sweep": {"grid": {"system": SYSTEMS, "memory.gpu_expert_cache.fraction": [0.25, 0.5]}},
    }
    (folder / "e.yaml").write_text(yaml.safe_dump(text), encoding="utf-8")
    return folder / "e.yaml"


@pytest.fixture(scope="session")
def undisturbed(experiment: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    run_experiment(str(experiment), [], out)
    return tables(out)
