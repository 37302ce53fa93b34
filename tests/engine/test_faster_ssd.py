"""A faster SSD made a machine slower: the small inputs of that fault."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from simulator.runs.experiment import run_experiment
from tests.failing import copied


def table(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    monkeypatch.chdir(folder)
    run_experiment(name, ["software=ideal"], folder / "out")
    return pd.read_csv(folder / "out" / "summary.csv")


def test_a_faster_ssd_is_not_slower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = table(copied("01", tmp_path), "real.yaml", monkeypatch).set_index("hardware")
    slow, fast = runs.loc["rtx4090-pcie4"], runs.loc["fastssd"]
    assert fast.tokens_per_second > slow.tokens_per_second
    assert fast.hit_rate > slow.hit_rate


def test_a_free_ssd_is_faster_than_a_slow_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The tiny machines differ from the one of two tiers in their chunks too, so equality is for tests/laws.
    runs = table(copied("01", tmp_path), "e.yaml", monkeypatch)
    keys = ["system", "runtime.cancel"]
    free = runs[runs.hardware == "ssdinf"].set_index(keys).tokens_per_second
    slow = runs[runs.hardware == "ssdinf2"].set_index(keys).tokens_per_second
    assert (free > 1.5 * slow).all()
