"""Results: the same bytes for the same inputs, columns that add up, folders that are whole or absent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from simulator.errors import InputError
from simulator.results.metrics import METRICS
from simulator.results.summary import FLAGS, IDENTITY
from simulator.runs import experiment as runner
from simulator.runs.experiment import HowToRun, run_experiment
from tests.places import ROOT

SWEPT = """\
name: swept
model: olmoe-1b-7b
hardware: rtx3060-12gb-pcie4
trace: olmoe-mini
workload: {max_sequences: 1}
memory: {gpu_expert_cache: {fraction: 0.5}}
system: lru-on-demand
sweep:
  grid:
    system: [lru-on-demand, lru-gate-lookahead, static-cpu-experts]
    memory.gpu_expert_cache.fraction: [0.2, 0.6]
  seeds: [0, 1]
figures: [latency-breakdown]
"""


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("swept")
    (folder / "e.yaml").write_text(SWEPT)
    run_experiment(str(folder / "e.yaml"), [], folder / "out")
    return folder


def test_a_sweep_has_a_row_for_each_combination_and_seed(swept: Path) -> None:
    table = pd.read_csv(swept / "out" / "summary.csv")
    assert len(table) == 3 * 2 * 2
    assert list(table["run"]) == list(range(12))
    assert set(table["seed"]) == {0, 1}
    expected = [*IDENTITY, "memory.gpu_expert_cache.fraction", *(m.name for m in METRICS), *FLAGS]
    assert list(table.columns) == expected


def test_what_the_design_promises_is_there(swept: Path) -> None:
    out = swept / "out"
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["seeds"] == [0, 1]
    assert [line.split(" ")[0] for line in manifest["inputs"]] == [
        "hardware",
        "model",
        "software",
        "trace",
    ]
    assert (manifest["git_commit"] is not None) == (ROOT / ".git").exists()
    configs = list(yaml.safe_load_all((out / "config.resolved.yaml").read_text()))
    assert [config["sweep"]["seeds"] for config in configs] == [[0], [1]] * 6
    assert configs[2]["policies"]["eviction"] == "lru"
    assert (out / "figures" / "latency-breakdown.pdf").is_file()


def test_what_a_profile_could_not_measure_is_said_of_its_runs(swept: Path, tmp_path: Path) -> None:
    profile = yaml.safe_load((ROOT / "hardware_profiles" / "rtx3060-12gb-pcie4.yaml").read_text())
    profile["notes"] = "Measured by day.\nNot measured: dequantisation.\nWARNING: the machine was busy."
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(profile))
    sets = [f"hardware={tmp_path / 'mine.yaml'}", "sweep={}", "workload.max_decode_tokens=2", "figures=[]"]
    found = run_experiment(str(swept / "e.yaml"), sets, tmp_path / "out")
    who = "hardware rtx3060-12gb-pcie4: "
    assert found.warnings[-2:] == [
        f"{who}Not measured: dequantisation.",
        f"{who}WARNING: the machine was busy.",
    ]
    said = pd.read_csv(tmp_path / "out" / "summary.csv")["warnings"][0]
    assert said.endswith(" | ".join(found.warnings[-2:]))


def test_the_labels_of_a_token_add_up_to_its_time(swept: Path) -> None:
    table = pd.read_csv(swept / "out" / "summary.csv")
    labels = ["dense", "expert_compute", "cpu_expert_wait", "stall", "overhead", "host"]
    total = sum(table[f"{label}_ms_per_token"] for label in labels)
    assert total.to_numpy() == pytest.approx((1000 / table["tokens_per_second"]).to_numpy(), rel=1e-12)
    tokens = pd.read_parquet(swept / "out" / "tokens.parquet")
    apart = ("start_ns", "latency_ns", "busy_")
    parts = [name for name in tokens if name.endswith("_ns") and not name.startswith(apart)]
    assert (tokens[parts].sum(axis=1) == tokens["latency_ns"]).all()


def test_counts_add_up(swept: Path) -> None:
    table = pd.read_csv(swept / "out" / "summary.csv")
    assert (table["hits"] + table["late"] + table["misses"] == table["lookups"]).all()
    kinds = ["fetched", "cpu", "deferred", "substituted", "skipped"]
    assert (sum(table[f"misses_{kind}"] for kind in kinds) == table["misses"]).all()
    useful = table["started_prefetches"] - table["unused_prefetches"] - table["cancelled_prefetches"]
    started = table["started_prefetches"] > 0
    assert (useful / table["started_prefetches"])[started].tolist() == table["prefetch_accuracy"][
        started
    ].tolist()
    masses = [name for name in table if name.startswith("gate_mass_")]
    assert table[masses].sum(axis=1).tolist() == [1.0] * len(table)


def test_on_demand_rows_do_not_depend_on_the_seed(swept: Path) -> None:
    table = pd.read_csv(swept / "out" / "summary.csv").drop(columns=["run", "seed"])
    assert table[::2].reset_index(drop=True).equals(table[1::2].reset_index(drop=True))


def test_the_table_is_the_same_bytes_anywhere(swept: Path, tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
        "from simulator.runs.experiment import run_experiment; "
        f"from pathlib import Path; run_experiment({str(swept / 'e.yaml')!r}, [], Path('again'))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "4711", "LC_ALL": "C", "TZ": "Asia/Tokyo"}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    for name in ("summary.csv", "tokens.parquet", "config.resolved.yaml", "figures/latency-breakdown.pdf"):
        assert (tmp_path / "again" / name).read_bytes() == (swept / "out" / name).read_bytes(), name


def test_a_system_whose_policies_were_overridden_is_not_called_by_its_name_alone(tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text(SWEPT)
    sets = ["sweep={}", "policies.eviction=fifo", "figures=[]"]
    done = run_experiment(str(tmp_path / "e.yaml"), sets, tmp_path / "out")
    assert done.runs[0].identity["system"] == "lru-on-demand (modified)"


@pytest.mark.parametrize(
    ("fault", "told"), [(KeyboardInterrupt, KeyboardInterrupt), (OSError(28, "No space left"), InputError)]
)
def test_an_interrupted_run_leaves_what_was_there(
    swept: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException, told: type[BaseException]
) -> None:
    before = {path: path.read_bytes() for path in (swept / "out").rglob("*") if path.is_file()}
    files = {path.name for path in swept.iterdir()}
    how = HowToRun(force=True)

    def fails(*_: object) -> None:
        raise fault

    monkeypatch.setattr(runner, "write_results", fails)
    with pytest.raises(told):
        run_experiment(str(swept / "e.yaml"), ["workload.max_sequences=1"], swept / "out", how)
    with pytest.raises(told):
        run_experiment(str(swept / "e.yaml"), [], swept / "new", how)
    assert {path: path.read_bytes() for path in (swept / "out").rglob("*") if path.is_file()} == before
    unfinished = {"new.partial", "out.partial"}  # every run was finished: they can be resumed
    assert {path.name for path in swept.iterdir()} == files | unfinished
