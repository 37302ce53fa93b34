"""What policies learn beforehand: from where, what is then replayed, and what is not ranked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from policies.base import Eviction
from policies.registry import AXES, create, listing
from simulator.analysis.summary import read_summary
from simulator.assemble.library import Library
from simulator.assemble.run import Run
from simulator.config.yaml_file import read_yaml
from simulator.errors import InputError
from simulator.experiment.sweep import expand
from simulator.report.answer import answer
from simulator.report.caveats import caveats, notes
from simulator.runs.experiment import run_experiment
from simulator.trace.core import Trace, TraceHeader
from simulator.trace.parquet import write_trace
from simulator.trace.parts import shared_sequences, spans, split
from tests.command_line import moesim
from tests.failing import copied
from tests.places import ROOT
from tests.policies.tools import context, trace

N_LAYERS, N_EXPERTS = 2, 4
SIZES = {"expert_bytes": (1_000_000,) * N_LAYERS, "dense_bytes": (100_000,) * N_LAYERS, "precision": "fp16"}


def record(*sequences: list[list[int]], weights: list[float] | None = None) -> Trace:
    """Return a trace of decoded tokens, each given as its experts, the same in both layers."""
    tokens = [experts for sequence in sequences for experts in sequence]
    k = len(tokens[0])
    header = TraceHeader(
        model="tiny", n_layers=N_LAYERS, n_experts=N_EXPERTS, top_k=k, moe_layers=(0, 1),
        n_model_layers=N_LAYERS, weights="renormalised", recorder="test", **SIZES,
    )  # fmt: skip
    numbers = [i for i, sequence in enumerate(sequences) for _ in sequence]
    places = [place for sequence in sequences for place in range(len(sequence))]
    shares = np.tile(np.array(weights or [1 / k] * k, np.float32), (len(tokens), N_LAYERS, 1))
    return Trace(
        header,
        np.array(numbers, np.int32),
        np.array(places, np.int32),
        np.ones(len(tokens), np.uint8),
        np.repeat(np.array(tokens, np.int16)[:, None], N_LAYERS, axis=1),
        shares,
    )


def run(folder: Path, **keys: Any) -> pd.DataFrame:
    """Run an experiment on the trace ``t.parquet`` of ``folder``; return its summary."""
    text = {
        "name": "e",
        "model": "trace",
        "hardware": "rtx4090-pcie4",
        "trace": str(folder / "t.parquet"),
        "memory": {"gpu_expert_cache": {"experts_per_layer": 1}},
        **keys,
    }
    (folder / "e.yaml").write_text(yaml.safe_dump(text), encoding="utf-8")
    out = folder / f"out{len(list(folder.glob('out*')))}"
    run_experiment(str(folder / "e.yaml"), [], out)
    return read_summary(out)


STATIC = {"eviction": "static-popularity", "partition": "per-layer"}
# popular: 0 in the first sequence, 1 in the second, 2 in the third
THREE = ([[0], [0], [0]], [[1], [1], [0]], [[2], [2], [2], [2]])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_trace(record(*THREE), tmp_path / "t.parquet")
    return tmp_path


def test_a_share_of_the_trace_is_learnt_from_and_not_replayed(folder: Path) -> None:
    """A quarter of three sequences is the first (rounded up): 0 is popular, and used once of 7 times."""
    (row,) = run(folder, training_share=0.25, policies=STATIC).to_dict("records")
    assert (row["lookups"], row["hits"]) == (2 * 7, 2 * 1)
    assert row["learnt_from"] == "sequence 0 of t.parquet, not replayed"
    assert (row["knows_future"], row["warnings"]) == ("false", "")
    # two thirds are two of three: 0 is popular (4 of 6), and the last sequence never asks for it
    (row,) = run(folder, training_share=0.6, policies=STATIC).to_dict("records")
    assert (row["lookups"], row["hits"]) == (2 * 4, 0)
    assert row["learnt_from"].startswith("sequences 0 to 1 of ")
    tokens = pd.read_parquet(folder / "out1" / "tokens.parquet")
    assert set(tokens["sequence"]) == {2}


def test_every_system_replays_the_same_and_max_sequences_counts_what_is_replayed(folder: Path) -> None:
    sweep = {"grid": {"policies.eviction": ["lru", "static-popularity"], "training_share": [0.3, 0.6]}}
    found = run(folder, sweep=sweep, workload={"max_sequences": 1})
    assert found["lookups"].tolist() == [2 * 3, 2 * 4] * 2
    assert len(set(found["belady_hit_rate"])) == 2  # a bound for each share


def test_a_share_is_exact_in_decimals(tmp_path: Path) -> None:
    """0.07 of 100 is 7, although 0.07 * 100 is above it in floating point."""
    write_trace(record(*([[0]] for _ in range(100))), tmp_path / "t.parquet")
    (row,) = run(tmp_path, training_share=0.07).to_dict("records")
    assert row["lookups"] == 2 * 93


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"training_share": 0.9}, "training_share: 0.9 of 3 in .* leaves no sequence"),
        (
            {"training_share": 0.5, "training_trace": "olmoe-mini"},
            "training_trace and training_share are both named; keep one",
        ),
        ({"training_share": 1.0}, "less than 1"),
        ({"training_share": 0}, "greater than 0"),
    ],
)
def test_shares_that_leave_nothing_or_contradict_are_refused(folder: Path, keys: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        run(folder, **keys)
    assert not list(folder.glob("out*"))


def test_learning_from_what_is_replayed_is_knowledge_of_the_future(folder: Path) -> None:
    grid = {"policies.eviction": ["lru", "static-popularity", "belady"]}
    found = run(folder, policies={"partition": "per-layer"}, sweep={"grid": grid})
    assert found["knows_future"].tolist() == ["false", "true", "true"]
    said = found["warnings"].tolist()
    assert "static-popularity (eviction) knows the future, learnt from what is replayed" in said[1]
    assert "name a training_share, or a training_trace of other sequences" in said[1]
    assert "future" not in said[0] + said[2]
    # Fixed popularity is the fastest here, and is not ranked; belady is not either.
    assert answer(found).winners[0][0] == "lru"
    assert len(answer(found).bounds) == 2
    assert any("static-popularity (eviction) knows" in note.text for note in notes(found))
    assert any(line.startswith("2 of 3 runs know the future") for line in caveats(found, {}))
    shared = run(folder, policies=STATIC, training_share=0.3)
    assert not any("future" in line for line in caveats(shared, {}))


def test_a_training_trace_that_is_the_replayed_one_is_no_excuse(folder: Path) -> None:
    """By any name, and in part: whether sequences are shared decides."""
    write_trace(record(THREE[2], [[3], [3]]), folder / "part.parquet")
    write_trace(record([[0], [1]]), folder / "other.parquet")
    known = {}
    for name in ("t", "part", "other"):
        (row,) = run(folder, policies=STATIC, training_trace=str(folder / f"{name}.parquet")).to_dict(
            "records"
        )
        known[name] = row["knows_future"], "that has replayed sequences" in row["warnings"]
    assert known == {"t": ("true", True), "part": ("true", True), "other": ("false", False)}
    # what the workload leaves out is not replayed
    first = {"max_sequences": 2}
    found = run(folder, policies=STATIC, training_trace=str(folder / "part.parquet"), workload=first)
    assert found["knows_future"][0] == "false"
    # who learns nothing beforehand knows nothing
    (row,) = run(folder, training_trace=str(folder / "t.parquet")).to_dict("records")
    assert row["knows_future"] == "false"


def test_a_table_that_starts_from_the_replayed_trace_is_knowledge_too(folder: Path) -> None:
    for prefetch in ("transition", "activation-aware", "popularity"):
        known = [
            run(folder, policies={"prefetch": prefetch}, **given)["knows_future"][0]
            for given in ({}, {"training_trace": str(folder / "t.parquet")}, {"training_share": 0.3})
        ]
        assert known == ["false", "true", "false"]


def test_popularity_and_quantiles_are_those_of_the_replayed_tokens(tmp_path: Path) -> None:
    """Of a whole file 2 is the most popular; of what the workload replays it is 0."""
    write_trace(record([[0], [0], [2]], [[2], [2], [2]]), tmp_path / "t.parquet")
    for workload in ({"max_sequences": 1}, {"max_sequences": 1, "max_decode_tokens": 2}):
        (row,) = run(tmp_path, policies=STATIC, workload=workload).to_dict("records")
        assert row["hits"] == 2 * 2


def test_thresholds_are_quantiles_of_the_replayed_tokens(tmp_path: Path) -> None:
    """Seconds have the scores .5, .7 in the first sequence, .9 and .9 in the second."""
    whole = record([[0, 1], [0, 1]], [[0, 1], [0, 1]])
    first = np.array([0.5, 0.7, 0.9, 0.9], np.float32)
    weights = np.stack([first, 1 - first], axis=1)
    write_trace(replace(whole, weights=np.repeat(weights[:, None], 2, axis=1)), tmp_path / "t.parquet")
    highs = []
    for sets in (
        [],
        ["workload.max_sequences=1"],
        ["workload.max_sequences=1", "workload.max_decode_tokens=1"],
    ):
        text = {
            "name": "e",
            "model": "trace",
            "hardware": "rtx4090-pcie4",
            "trace": str(tmp_path / "t.parquet"),
        }
        text["policies"] = {"precision": {"name": "hobbit", "high_share": 0.5, "low_share": 1.0}}
        text["memory"] = {"gpu_expert_cache": {"fraction": 0.5}}
        (tmp_path / "e.yaml").write_text(yaml.safe_dump(text), encoding="utf-8")
        (spec,) = expand(read_yaml(tmp_path / "e.yaml"), sets)
        built = Run(Library().inputs(spec)[0])
        policy = create("precision", spec.experiment.policies.precision)
        policy.bind(built.context())
        highs.append(policy.high)
    assert highs == pytest.approx([0.8, 0.6, 0.5], abs=1e-6)


@pytest.mark.parametrize(
    "row", [row for row in listing() if row.axis != "order"], ids=lambda row: f"{row.axis}-{row.name}"
)
def test_no_policy_learns_in_secret(row: Any) -> None:
    """A policy that looks at what is learnt from says so; HOBBIT's two quantiles are the one exception."""
    looked = []

    class Watched:
        def __init__(self, held: Any) -> None:
            self.held = held

        def __getattr__(self, name: str) -> Any:
            looked.append(name)
            return getattr(self.held, name)

    past = trace([[[0, 1], [2, 3]]] * 3, weights=np.full((3, 2, 2), 0.5, np.float32))
    past = replace(past, predicted=(past.experts,), recorded_resident=np.ones((3, 2, 2), np.int8))
    known = context([[0, 1], [10, 11]] * 3, n_layers=2, n_versions=2, trace=past)
    counts = Watched(known.popularity)
    policy = create(row.axis, row.name)
    policy.bind(replace(known, learnt=Watched(past), popularity=counts, training=Watched(past)))
    if isinstance(policy, Eviction):
        policy.preload([0])
    exempt = (row.axis, row.name) == ("precision", "hobbit")
    assert policy.learns_beforehand == (bool(looked) and not exempt)


def test_more_skipped_than_a_model_bears_is_warned_of(tmp_path: Path) -> None:
    """Of weights .88 and .12 the second goes everywhere: 12 % of the gate mass; of .92 and .08, 8 %."""
    said = []
    for weights in ([0.88, 0.12], [0.92, 0.08]):
        folder = tmp_path / str(weights[1])
        folder.mkdir()
        write_trace(record([[0, 1]] * 4, weights=weights), folder / "t.parquet")
        gating = {"name": "adaptive-gating", "threshold": 0.04, "sensitivity": [1.0, 1.0]}
        said.append(run(folder, policies={"routing": gating})["warnings"][0])
    assert "12.0 % of the gate mass is skipped" in said[0]
    assert "skipped" not in said[1]


def test_a_fixed_placement_refuses_to_shrink(folder: Path) -> None:
    memory = {"gpu_expert_cache": {"experts_per_layer": 1}, "kv": "grow"}
    with pytest.raises(InputError, match=r"memory\.kv: .*lets nobody go"):
        run(folder, policies=STATIC, memory=memory)


def test_sequences_are_found_divided_and_compared() -> None:
    whole = record(*THREE)
    assert [(span.start, span.stop) for span in spans(whole)] == [(0, 3), (3, 6), (6, 10)]
    first, others = split(whole, 1)
    assert (set(first.sequence), set(others.sequence)) == ({0}, {1, 2})
    assert not shared_sequences(first, others)
    assert shared_sequences(others, record(THREE[2]))
    assert not shared_sequences(others, record(THREE[2][:-1]))


def test_lists_say_who_learns_beforehand() -> None:
    def listed(kind: str) -> dict[str, str]:
        done = moesim(ROOT, "list", kind, "--json")
        return {row["name"]: row["title"] for row in json.loads(done.stdout)}

    systems, policies = listed("systems"), listed("policies")
    learn = {name for name, title in systems.items() if "training_share" in title}
    assert learn == {"adapmoe", "edgemoe", "fiddler", "ktransformers", "static-cpu-experts"}
    assert "training_share" in policies["eviction: static-popularity"]
    assert "training_share" not in policies["eviction: lru"]
    assert set(AXES) == {name.partition(":")[0] for name in policies}


# -- inputs that once failed ------------------------------------------------------------------------


def summary(folder: Path, experiment: str) -> pd.DataFrame:
    """Run an experiment of ``folder`` from there, as a user does; what code costs is not at stake."""
    done = moesim(folder, "run", experiment, "--set", "software=ideal", "--out", "out")
    assert done.returncode == 0, done.stderr
    return read_summary(folder / "out")


def test_hobbit_runs_on_one_expert_a_token(tmp_path: Path) -> None:
    found = summary(copied("03", tmp_path), "e.yaml")
    assert found["system"].tolist() == ["lru-on-demand", "hobbit"]
    assert found["gate_mass_high"].tolist() == [1, 1]


def test_adapmoe_skips_no_more_of_eight_experts_than_its_bound(tmp_path: Path) -> None:
    """sqrt(.005 / .305) = .128 of each token's gate mass at most, where it was .39 of all."""
    found = summary(copied("07", tmp_path), "e.yaml").set_index("system")
    assert 0 < found.loc["adapmoe", "gate_mass_skipped"] < 0.128
    assert found.loc["adapmoe", "knows_future"] == "true"  # accuracies of what it replays


def test_fiddlers_placement_is_fixed(tmp_path: Path) -> None:
    """The popular experts are there from the start to the end: 20 of 20 lookups while decoding."""
    (row,) = summary(copied("08", tmp_path), "fid2.yaml").to_dict("records")
    assert (row["hits"], row["hit_rate_decode"], row["lookups"]) == (20, 1, 22)


def test_fiddler_computes_all_four_on_the_cpu(tmp_path: Path) -> None:
    """64,152 ns on the CPU is less than 108,304 + 12,831 of fetching and computing, expert by expert."""
    found = summary(copied("18", tmp_path), "e.yaml").set_index("system")
    assert found["misses_cpu"].tolist() == [4, 4]
    assert len(set(found["tokens_per_second"])) == 1
