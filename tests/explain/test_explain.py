"""What explains a run adds up, agrees with runs that a user could make, and knows what it cannot say."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

import simulator as moesim
from simulator.config.yaml_file import Document
from simulator.experiment.sweep import expand
from simulator.explain import layers, misses, prefetching, times
from simulator.explain.diagnosis import Diagnosis, explain
from tests.command_line import moesim as command
from tests.places import WHOLE_PROFILE

BASE: dict[str, Any] = {
    "name": "test",
    "model": "olmoe-1b-7b",
    "hardware": "rtx4090-pcie4",
    "trace": "olmoe-mini",
    "workload": {"max_sequences": 1, "max_decode_tokens": 12},
    "memory": {"gpu_expert_cache": {"fraction": 0.4}},
    "system": "lru-gate-lookahead",
    "software": "ideal",
}


@cache
def found() -> Diagnosis:
    return explain(expand(Document(Path("experiment"), BASE))[0])


def what_if(name: str) -> float:
    (speed,) = [one.tokens_per_second for one in found().what_if if one.name == name]
    assert speed is not None
    return speed


def test_times_and_waits_add_up_to_the_run() -> None:
    results = moesim.run(BASE)
    decode = results.tokens[results.tokens["phase"] == "decode"]
    assert found().times.total_ms == pytest.approx(decode["latency_ns"].sum() / len(decode) / 1e6)
    stalls = [name for name in results.tokens if str(name).startswith("stall_")]
    assert sum(found().waits_ns) == results.tokens[stalls].sum().sum()
    assert sum(found().times.bound_by.values()) == pytest.approx(1)


def test_misses_add_up_and_their_causes_are_counted_by_hand() -> None:
    m = found().misses
    assert m.capacity is not None
    assert m.policy is not None
    assert m.compulsory + m.capacity + m.policy == m.missed
    # Two slots, experts 0 1 2 0 1 2: LRU misses all six; Belady keeps 0, then 2, and misses four.
    metrics = {"lookups": 6, "hits": 0, "belady_hit_rate": 2 / 6, "belady_kind": "exact"}
    by_hand = misses.by_cause(metrics, [[0], [1], [2], [0], [1], [2]], preloaded=False)
    assert (by_hand.compulsory, by_hand.capacity, by_hand.policy) == (3, 1, 2)
    assert by_hand.sentence == "50% of the misses come from first uses."


def test_a_change_is_the_run_that_a_user_could_make(tmp_path: Path) -> None:
    profile = yaml.safe_load(WHOLE_PROFILE.read_text())
    link = profile["links"]["cpu_to_gpu"]["bandwidth"]
    number, unit = link["value"].split()
    link["value"] = f"{2 * float(number):g} {unit}"
    (tmp_path / "faster.yaml").write_text(yaml.safe_dump(profile))
    faster = moesim.run(BASE, {"hardware": str(tmp_path / "faster.yaml")})
    assert what_if("cpu to gpu twice as fast") == faster.summary["tokens_per_second"].item()
    lfu = moesim.run(BASE, {"policies.eviction": "lfu"})
    assert what_if("eviction lfu") == lfu.summary["tokens_per_second"].item()
    larger = moesim.run(BASE, {"memory.gpu_expert_cache.fraction": 0.6})
    assert what_if("half as much again of GPU memory for experts") == pytest.approx(
        larger.summary["tokens_per_second"].item()
    )


def test_what_knows_the_future_is_never_what_helps_most() -> None:
    bounds = {one.name for one in found().what_if if one.bound}
    assert bounds == {"evicting what is needed last", "prefetching that is always right"}
    assert not any(name in found().sentences[-1] for name in bounds)


@pytest.mark.parametrize(
    ("started", "accuracy", "late", "waiting", "said"),
    [
        (0, 0.0, 0.0, 0.5, "Nothing is prefetched"),
        (9, 0.9, 0.1, 0.01, "hides nearly all"),
        (9, 0.3, 0.1, 0.5, "Most prefetches are wrong"),
        (9, 0.9, 0.8, 0.5, "but late"),
        (9, 0.9, 0.1, 0.5, "too few"),
    ],
)
def test_prefetching_is_judged_by_what_goes_wrong(
    started: int, accuracy: float, late: float, waiting: float, said: str
) -> None:
    assert said in prefetching.Prefetching(started, accuracy, late, 0.2, waiting).sentence


def test_a_run_that_waits_for_nothing_says_so() -> None:
    assert layers.sentence([0, 0]) == "No layer waits."
    assert layers.sentence([1, 1, 1, 5]) == "The longest waits are in MoE layers 3 (62%), 0 (12%), 1 (12%)."
    assert times.Times({}).sentence == "No token was decoded."
    whole = explain(expand(Document(Path("experiment"), BASE), ["memory.gpu_expert_cache.fraction=1.0"])[0])
    assert whole.times.sentence.startswith("The run is bound by compute")
    assert "GPU memory" not in {one.name for one in whole.what_if}


def test_the_command_explains_experiments_and_results(tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text(json.dumps(BASE))
    moesim.run(BASE, out=tmp_path / "out")
    from_file = command(tmp_path, "explain", str(tmp_path / "e.yaml"), "--json")
    assert json.loads(from_file.stdout)["sentences"] == found().sentences
    from_folder = command(tmp_path, "explain", str(tmp_path / "out"))
    assert found().times.sentence in from_folder.stdout
    assert "(a bound)" in from_folder.stdout
    refused = command(tmp_path, "explain", str(tmp_path / "out"), "--run", "3")
    assert refused.returncode == 2
    assert "has no such run: there is only run 0" in refused.stderr.replace(";", ":")
