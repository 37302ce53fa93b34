"""Assumed gate weights: means by rank, said to be assumed, and never in place of recorded ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import simulator as moesim
from simulator.errors import InputError
from simulator.trace.parquet import read_trace
from tests.command_line import moesim as command
from tests.places import ROOT

MINI = ROOT / "traces" / "olmoe-mini.parquet"


RUN = {
    "name": "t",
    "model": "olmoe-1b-7b",
    "hardware": "rtx4090-pcie4",
    "software": "ideal",
    "system": "hobbit",
    "precision": {"experts": ["int4", "int2"], "dense": "int8"},
    "training_share": 0.5,
    "workload": {"max_decode_tokens": 3},
    "memory": {"gpu_expert_cache": {"fraction": 0.5}},
}


def test_weights_are_means_by_rank_and_results_say_so(tmp_path: Path) -> None:
    cut = ("--sequences", "0:2", "--without", "gate_weights", "--out", "ids.parquet")
    command(tmp_path, "trace", "slice", str(MINI), *cut)
    with pytest.raises(InputError, match="has no gate_weights; moesim trace weigh gives it assumed ones"):
        moesim.run(RUN | {"trace": str(tmp_path / "ids.parquet")})
    done = command(tmp_path, "trace", "weigh", "ids.parquet", "--like", "olmoe-mini", "--out", "w.parquet")
    assert done.returncode == 0, done.stderr
    whole, weighed = read_trace(MINI), read_trace(tmp_path / "w.parquet")
    assert whole.weights is not None
    assert weighed.weights is not None
    by_hand = -np.sort(-whole.weights[whole.experts[:, :, 0] >= 0].astype(float), axis=1)
    there = weighed.experts[:, :, 0] >= 0
    assert weighed.weights[there][0] == pytest.approx(by_hand.mean(axis=0), abs=1e-3)
    assert (weighed.weights[~there] == 0).all()
    assert weighed.header.weights == whole.header.weights
    results = moesim.run(RUN | {"trace": str(tmp_path / "w.parquet")})
    assert "trace: gate weights by rank, means of olmoe-mini" in results.summary["assumed"].item()


def test_recorded_weights_stay(tmp_path: Path) -> None:
    done = command(tmp_path, "trace", "weigh", str(MINI), "--like", "olmoe-mini", "--out", "w.parquet")
    assert done.returncode == 2
    assert "has gate weights; recorded ones are better" in done.stderr
    done = command(tmp_path, "trace", "weigh", str(MINI), "--like", "mixtral-stand-in", "--out", "w.parquet")
    assert done.returncode == 2
    assert not (tmp_path / "w.parquet").exists()
