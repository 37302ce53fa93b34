"""What a phone really did: every recorded hit and miss, the bytes that it read, and its time within bounds.

The runs are BigMoeOnEdge's on a OnePlus 15R (../shared/traces/README.md); commands are those of the README.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from policies.base import Event
from simulator.assemble.library import Library
from simulator.assemble.run import Run
from simulator.cli import app
from simulator.config.yaml_file import read_yaml
from simulator.engine.decide import Decision
from simulator.engine.plan import LinkPlan
from simulator.experiment.sweep import expand
from tests.places import ROOT, SHARED

RECORDED = SHARED / "traces" / "bigmoe"
EXPERIMENT = str(ROOT / "experiments" / "phone-bigmoe.yaml")
BUDGET = {"qwen": "4000 MiB", "gptoss": "3000 MiB"}
MIB = 1 << 20

pytestmark = pytest.mark.skipif(
    not RECORDED.is_dir(), reason="the recorded runs (../shared/traces) are absent"
)


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Import both runs by the command line; return the folder."""
    folder = tmp_path_factory.mktemp("phone")
    for name in BUDGET:
        source, target = str(RECORDED / f"{name}.route.csv"), str(folder / f"{name}.parquet")
        done = CliRunner().invoke(app, ["trace", "import", source, "--format", "bigmoe", "-o", target])
        assert done.exit_code == 0, done.output
    return folder


def run(traces: Path, out: Path, name: str, *sets: str) -> pd.Series[float]:
    """Run the experiment by the command line; return its row of the summary."""
    given = [f"trace={traces / name}.parquet", f"memory.cpu_expert_cache={BUDGET[name]}", "figures=[]", *sets]
    command = ["run", EXPERIMENT, "--out", str(out)]
    done = CliRunner().invoke(app, command + [word for text in given for word in ("--set", text)])
    assert done.exit_code == 0, (done.output, done.exception)
    return pd.read_csv(out / "summary.csv").iloc[0]


@pytest.mark.parametrize(
    ("name", "hits", "lookups", "peak_mib"),
    [("qwen", 29_597, 39_526, 4184.5), ("gptoss", 2_066, 6_375, 3794.7)],
)
def test_hits_and_peak_are_those_of_the_device(
    traces: Path, tmp_path: Path, name: str, hits: int, lookups: int, peak_mib: float
) -> None:
    row = run(traces, tmp_path / "out", name)
    assert (row["hits"], row["lookups"], row["late"]) == (hits, lookups, 0)
    assert round(row["peak_cpu_bytes"] / MIB, 1) == peak_mib
    if name == "qwen":
        assert (round(row["hit_rate"], 4), round(row["hit_rate_decode"], 4)) == (0.7488, 0.8029)
        assert 30 <= row["stall_ms_per_token"] <= 55  # recorded: 42.3
        assert abs(row["tokens_per_second"] / 5.657 - 1) < 0.15
    else:
        assert round(row["hit_rate"], 4) == 0.3241


def recorded_flags(name: str) -> dict[tuple[int, int, int], bool]:
    """Return, by (pass, layer, expert), whether the device had the expert, read plainly from the CSV."""
    flags: dict[tuple[int, int, int], bool] = {}
    with (RECORDED / f"{name}.route.csv").open() as file:
        for row in csv.DictReader(line for line in file if not line.startswith("#")):
            step = int(row["step"]) if row["phase"] == "1" else -1
            flags.setdefault((step, int(row["layer"]), int(row["expert"])), row["residency"] != "0")
    steps = {step: n for n, step in enumerate(sorted({step for step, _, _ in flags}))}
    return {(steps[step], layer, expert): there for (step, layer, expert), there in flags.items()}


@pytest.mark.parametrize("name", BUDGET)
@pytest.mark.parametrize("policy", ["lru", "recorded"])
def test_every_recorded_flag_is_reproduced(traces: Path, name: str, policy: str) -> None:
    sets = [
        f"trace={traces / name}.parquet",
        f"memory.cpu_expert_cache={BUDGET[name]}",
        f"policies.eviction={policy}",
    ]
    (spec,) = expand(read_yaml(EXPERIMENT), sets)
    inputs, _ = Library().inputs(spec)
    simulated: dict[tuple[int, int, int], bool] = {}
    n_layers, n_experts = inputs.trace.header.n_layers, inputs.trace.header.n_experts

    def watch(event: Event, decision: Decision) -> None:
        for key in event.keys:
            simulated[event.index // n_layers, event.layer, key % n_experts] = key in decision.hits

    ready = Run(inputs)
    simulation = ready.simulation(lambda _pass, _record: None)
    simulation.player.watch = watch
    simulation.run(ready.workload)
    assert simulated == recorded_flags(name)


@pytest.mark.parametrize(("name", "hits", "lookups"), [("qwen", 29_597, 39_526), ("gptoss", 2_066, 6_375)])
def test_the_curve_has_the_hits_of_the_device(
    traces: Path, tmp_path: Path, name: str, hits: int, lookups: int
) -> None:
    words = ["curve", str(traces / f"{name}.parquet"), "--policies", "lru", "--evict", "after-event"]
    sizes = ["--capacities", f"{BUDGET[name]},30000MiB", "-o", str(tmp_path / "curve.csv")]
    done = CliRunner().invoke(app, words + sizes)
    assert done.exit_code == 0, (done.output, done.exception)
    curve = pd.read_csv(tmp_path / "curve.csv").iloc[0]
    assert curve["hit_rate"] == hits / lookups
    assert curve["hit_rate_decode"] == run(traces, tmp_path / "out", name)["hit_rate_decode"]


@pytest.mark.parametrize("name", BUDGET)
def test_bytes_read_while_decoding_agree(traces: Path, tmp_path: Path, name: str) -> None:
    run(traces, tmp_path / "out", name)
    tokens = pd.read_parquet(tmp_path / "out" / "tokens.parquet")
    decoded = tokens[tokens["phase"] == "decode"]
    flash = LinkPlan("ssd_to_cpu", 1, 0, 1, align_bytes=4096)
    with (RECORDED / f"{name}.route.csv").open() as file:
        rows = [
            r for r in csv.DictReader(line for line in file if not line.startswith("#")) if r["phase"] == "1"
        ]
    missed = [int(r["expert_bytes"]) for r in rows if r["residency"] == "0"]
    parts = [n // 3 + (n % 3 if i == 0 else 0) for n in missed for i in range(3)]
    simulated = sum(flash.read_bytes(n) for n in parts)
    assert decoded["demand_bytes"].sum() == sum(missed)
    with (RECORDED / f"{name}.metrics.csv").open() as file:
        metrics = csv.DictReader(line for line in file if not line.startswith("#"))
        recorded = sum(int(row["read_bytes"]) for row in metrics)
    assert abs(simulated / recorded - 1) < 0.00005


def test_on_insert_never_exceeds_the_budget(traces: Path, tmp_path: Path) -> None:
    row = run(traces, tmp_path / "out", "qwen", "runtime.evict=on_insert")
    assert row["peak_cpu_bytes"] <= 4000 * MIB


def test_a_cache_below_one_cycle_is_worth_nothing_to_lru_and_something_to_belady(
    traces: Path, tmp_path: Path
) -> None:
    small = "memory.cpu_expert_cache=500 MiB"
    lru = run(traces, tmp_path / "lru", "qwen", small)
    assert lru["hits"] == 0
    assert "smaller than one token's cycle through the layers" in str(lru["warnings"])
    belady = run(traces, tmp_path / "belady", "qwen", small, "policies.eviction=belady")
    assert belady["hits"] > 0
