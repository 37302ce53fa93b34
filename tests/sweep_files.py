"""A short trace, and an experiment on it, for tests of sweeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from simulator.trace.parquet import read_trace, write_trace
from tests.places import ROOT


def write_short_trace(path: Path, sequences: int = 2, positions: int = 40) -> Path:
    """Write the first tokens of the first sequences of a bundled trace, with its predictions."""
    trace = read_trace(ROOT / "traces" / "olmoe-mini.parquet")
    few = np.flatnonzero((trace.sequence < sequences) & (trace.position < positions))
    arrays = {
        name: getattr(trace, name)[few] for name in ("sequence", "position", "phase", "experts", "weights")
    }
    predicted = {
        name: tuple(a[few] for a in getattr(trace, name)) for name in ("predicted", "predicted_weights")
    }
    write_trace(replace(trace, **arrays, **predicted, gate_top=None, gate_top_p=None, token_id=None), path)
    return path


def write_experiment(folder: Path, name: str = "e.yaml", **said: Any) -> Path:
    """Write an experiment on ``folder/t.parquet``, which is made if need be; ``said`` lies over it."""
    if not (folder / "t.parquet").exists():
        write_short_trace(folder / "t.parquet", 1, 12)
    text = {
        "name": "e",
        "model": "olmoe-1b-7b",
        "hardware": "rtx4090-pcie4",
        "trace": "./t.parquet",
        "memory": {"gpu_expert_cache": {"fraction": 0.25}},
    }
    (folder / name).write_text(yaml.safe_dump(text | said), encoding="utf-8")
    return folder / name
