"""Searches: what they find, that they find it again after a kill, and what they refuse."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

pytest.importorskip("optuna", reason="the extra tune is not installed")

from simulator.errors import InputError
from simulator.experiment.tune import Parameter, Tune
from simulator.runs.experiment import run_experiment
from simulator.trace.parquet import read_trace, write_trace
from simulator.trace.parts import take
from simulator.trace.ranges import parse_ranges
from simulator.trace.slice_ import Cut, cut
from simulator.tune.findings import Findings, Pair
from simulator.tune.part import split
from simulator.tune.space import Space
from simulator.tune.tuning import HowToTune, tune_experiment
from tests.places import ROOT

FILES = ("trials.csv", "best.yaml", "report.md")
WEIGHTS = ("lru", "lfu", "lhu", "fld")
TUNE: dict[str, Any] = {
    "parameters": {"policies.eviction": {"shares": list(WEIGHTS)}, "runtime.parts": {"low": 1, "high": 4}},
    "minimise": "miss_penalty",
    "trials": 6,
    "seed": 3,
}


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a trace of four short sequences through three layers, with sizes in its header."""
    path = tmp_path_factory.mktemp("trace") / "t.parquet"
    whole = read_trace(ROOT / "traces" / "olmoe-mini.parquet")
    choice = Cut(
        sequences=parse_ranges("", "0:4"), positions=parse_ranges("", "0:40"), layers=parse_ranges("", "0:3")
    )
    (short,) = cut([whole], choice, "olmoe-mini")
    sizes = {"expert_bytes": (12_000_000,) * 3, "dense_bytes": (30_000_000,) * 3, "precision": "fp16"}
    write_trace(replace(short, header=short.header.model_copy(update=sizes)), path)
    return path


@pytest.fixture
def write(trace: Path, tmp_path: Path) -> Callable[..., str]:
    """Return what writes an experiment with a section ``tune`` and returns its path."""

    def written(tune: Mapping[str, Any] | None = None, **changes: Any) -> str:
        base: dict[str, Any] = {
            "name": "e",
            "model": "trace",
            "hardware": "rtx4090-pcie4",
            "trace": str(trace),
            "policies": {"eviction": {"name": "hobbit"} | dict.fromkeys(WEIGHTS, 0.25)},
            "memory": {"gpu_expert_cache": {"fraction": 0.3}},
        }
        text = base | changes | ({} if tune is None else {"tune": dict(tune)})
        path = tmp_path / "e.yaml"
        path.write_text(yaml.safe_dump(text, sort_keys=False), encoding="utf-8")
        return str(path)

    return written


def tables(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in FILES}


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "trials.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def mean(found: Any, metric: str) -> float:
    return float(np.mean([run.metrics[metric] for run in found.runs]))


# -- what is found ----------------------------------------------------------------------------------


def test_the_same_search_gives_the_same_bytes_and_the_best_of_its_trials(
    write: Callable[..., str], tmp_path: Path
) -> None:
    path = write(TUNE)
    found, _ = tune_experiment(path, [], tmp_path / "a")
    tune_experiment(path, [], tmp_path / "b")
    assert tables(tmp_path / "a") == tables(tmp_path / "b")
    trials = rows(tmp_path / "a")
    assert [row["number"] for row in trials] == [str(n) for n in range(7)]
    assert [trials[0][f"policies.eviction.{name}"] for name in WEIGHTS] == ["0.25"] * 4
    assert trials[0]["runtime.parts"] == "1"
    assert len({tuple(row.values())[2:] for row in trials}) > 4
    scores = [float(row["miss_penalty"]) for row in trials]
    assert found.best.number == scores.index(min(scores))
    assert found.training == Pair(scores[0], min(scores))


def test_what_learns_from_the_trace_is_in_a_search_what_it_is_in_a_run(
    write: Callable[..., str], tmp_path: Path
) -> None:
    """Also where not all sequences are replayed: HOBBIT's thresholds are quantiles of those that are."""
    choice = Cut(sequences=parse_ranges("", "0:4"), phase="decode", positions=parse_ranges("", "0:60"))
    (short,) = cut([read_trace(ROOT / "traces" / "olmoe-mini.parquet")], choice, "olmoe-mini")
    write_trace(short, tmp_path / "t.parquet")
    tune = {"parameters": {"runtime.parts": {"low": 1, "high": 2}}, "minimise": "miss_penalty", "trials": 1}
    whole = {"model": "olmoe-1b-7b", "trace": str(tmp_path / "t.parquet"), "system": "hobbit", "policies": {}}
    path = write(tune, **whole, workload={"max_sequences": 2}, precision={"experts": ["main", "int2"]})
    found, _ = tune_experiment(path, [], tmp_path / "out")
    assert mean(run_experiment(path, [], tmp_path / "run"), "miss_penalty") == found.all.before


def test_a_share_that_is_learnt_from_is_set_aside_before_sequences_are_held_out(
    write: Callable[..., str], tmp_path: Path
) -> None:
    """Of four sequences the first is learnt from; of the other three one is held out."""
    tune = {"parameters": {"runtime.parts": {"low": 1, "high": 2}}, "minimise": "miss_penalty", "trials": 1}
    path = write(tune | {"held_out": 0.3}, policies={"eviction": "static-popularity"}, training_share=0.25)
    found, _ = tune_experiment(path, [], tmp_path / "out")
    assert [number for _, number, _ in found.alone] == [2]
    assert found.n_training == 2
    assert mean(run_experiment(path, [], tmp_path / "run"), "miss_penalty") == found.all.before
    assert not any("future" in line for line in found.warnings())
    swept = write(tune, sweep={"grid": {"training_share": [0.25, 0.5]}})
    with pytest.raises(InputError, match="the sweep sets training_share"):
        tune_experiment(swept, [], tmp_path / "no")


def test_best_yaml_gives_what_the_report_says_of_all_sequences(
    write: Callable[..., str], tmp_path: Path
) -> None:
    sweep = {"grid": {"memory.gpu_expert_cache.fraction": [0.2, 0.4]}}
    path = write(TUNE, sweep=sweep)
    found, _ = tune_experiment(path, [], tmp_path / "out")
    assert found.best.number > 0
    as_it_is = run_experiment(path, [], tmp_path / "before")
    best = run_experiment(str(tmp_path / "out" / "best.yaml"), [], tmp_path / "after")
    assert mean(as_it_is, "miss_penalty") == pytest.approx(found.all.before, rel=1e-15)
    assert mean(best, "miss_penalty") == pytest.approx(found.all.after, rel=1e-15)
    assert best.runs[0].identity["experiment"] == "e-tuned"
    assert f"| all 4 | {found.all.before:.6g} | {found.all.after:.6g} |" in (
        tmp_path / "out" / "report.md"
    ).read_text(encoding="utf-8")


def test_scores_are_those_of_runs_on_the_sequences_of_each_part(
    write: Callable[..., str], trace: Path, tmp_path: Path
) -> None:
    found, _ = tune_experiment(write(TUNE), [], tmp_path / "out")
    whole = read_trace(trace)
    for part, kept in ((found.training, [0, 2]), (found.held_out, [1, 3])):
        some = tmp_path / f"from-{kept[0]}.parquet"
        write_trace(take(whole, np.isin(whole.sequence, kept)), some)
        run = run_experiment(write(), [f"trace={some}"], tmp_path / f"run{kept[0]}")
        assert run.runs[0].metrics["miss_penalty"] == part.before
    assert [number for _, number, _ in found.alone] == [1, 3]


def test_a_policy_that_the_system_names_can_be_tuned_and_so_can_choices(
    write: Callable[..., str], tmp_path: Path
) -> None:
    tune = {
        "parameters": {
            "policies.eviction": {"shares": list(WEIGHTS)},
            "policies.prefetch": {"choices": ["none", {"name": "gate-lookahead", "n_layers": 1}]},
            "runtime.overhead.per_pass": {"choices": ["9 ms", "0 ms"]},
        },
        "maximise": "tokens_per_second",
        "trials": 4,
    }
    named = {"system": "lru-gate-lookahead", "policies": {"eviction": "hobbit"}}
    named["runtime"] = {"overhead": {"per_pass": "9 ms"}}
    found, _ = tune_experiment(write(tune, **named), [], tmp_path / "out")
    best = yaml.safe_load((tmp_path / "out" / "best.yaml").read_text(encoding="utf-8"))
    assert best["policies"]["eviction"]["name"] == "hobbit"
    assert sum(best["policies"]["eviction"][name] for name in WEIGHTS) == pytest.approx(1)
    assert best["runtime"] == {"overhead": {"per_pass": "0 ms"}}
    assert "tune" not in best
    assert found.maximise
    assert rows(tmp_path / "out")[0]["policies.eviction.lru"] == "0.25"  # the policy's default
    assert found.training.after == max(trial.score or 0 for trial in found.trials)


def test_a_section_tune_changes_nothing_of_a_run(write: Callable[..., str], tmp_path: Path) -> None:
    run_experiment(write(), [], tmp_path / "out")
    before = (tmp_path / "out" / "config.resolved.yaml").read_bytes()
    run_experiment(write(TUNE), [], tmp_path / "out")  # refused, were it another run
    assert (tmp_path / "out" / "config.resolved.yaml").read_bytes() == before


@given(st.integers(2, 200), st.floats(0.001, 0.999))
def test_parts_are_disjoint_and_cover_all(n: int, held_out: float) -> None:
    training, held = split(n, held_out)
    assert sorted(training + held) == list(range(n))
    assert training
    assert held
    assert len(held) in {1, n - 1} or abs(len(held) - held_out * n) <= 0.5 + 1e-9


# -- the space --------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_shares_add_up_to_one(drawn: list[float]) -> None:
    space = Space({"p": Parameter(shares=WEIGHTS)})
    values = space.values({f"p.{name}": one for name, one in zip(WEIGHTS, drawn, strict=True)})
    assert list(values) == [f"p.{name}" for name in WEIGHTS]
    assert sum(values.values()) == pytest.approx(1, abs=1e-9)
    assert all(0 <= value <= 1 for value in values.values())
    if sum(drawn) > 0.01:
        assert list(values.values()) == pytest.approx([one / sum(drawn) for one in drawn], abs=3e-4)


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.floats(0, 1))
def test_numbers_are_short_and_stay_in_their_range(one: float, other: float, at: float) -> None:
    low, high = sorted((one, other))
    if low == high:
        return
    space = Space({"x": Parameter(low=low, high=high)})
    drawn = min(low + at * (high - low), high)
    value = space.values({"x": drawn})["x"]
    assert low <= value <= high
    assert value == pytest.approx(drawn, rel=1e-5)


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({}, "give low and high, or choices, or shares"),
        ({"low": 1, "high": 2, "choices": [1, 2]}, "give low and high, or choices, or shares"),
        ({"low": 1}, "a range has two ends"),
        ({"low": 2, "high": 1}, "low 2 is not below high 1"),
        ({"low": 1, "high": 1}, "low 1 is not below high 1"),
        ({"low": 0, "high": 1, "log": True}, "log needs a low above 0"),
        ({"low": 1, "high": 8, "log": True, "step": 1}, "takes no step"),
        ({"low": 0.0, "high": 1.0, "step": 0.3}, "not reached from low 0.0 in steps of 0.3"),
        ({"low": True, "high": 2}, "valid"),
        ({"low": 0.0, "high": float("inf")}, "finite"),
        ({"choices": [1, 1]}, "a value twice"),
        ({"choices": [1]}, "at least 2"),
        ({"shares": ["a", "a"]}, "a value twice"),
    ],
)
def test_a_parameter_that_says_nothing_or_too_much_is_refused(given_: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Parameter.model_validate(given_)


def test_steps_are_counted_as_they_are_written() -> None:
    assert Parameter.model_validate({"low": 0.1, "high": 0.7, "step": 0.2}).step == 0.2


# -- what is refused --------------------------------------------------------------------------------


def only(key: str, **said: Any) -> dict[str, Any]:
    """Return a change to one parameter; what is said of dotted keys is said of others."""
    others = {name: value for name, value in said.items() if "." in name}
    return {"parameters": {key: {name: v for name, v in said.items() if name not in others}, **others}}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"minimise": "mis_penalty"}, r"tune\.minimise: no column.*did you mean 'miss_penalty'"),
        ({"minimise": "belady_hit_rate"}, "belady_hit_rate is no number here"),
        ({"minimise": "perplexity_source"}, "is no number here"),
        ({"maximise": "hit_rate"}, r"e\.yaml:\d+: tune: give maximise or minimise"),
        ({"trails": 3}, r"e\.yaml:\d+: tune\.trails: unknown key; did you mean 'trials'"),
        ({"trials": 0}, "tune.trials"),
        ({"held_out": 1.0}, "tune.held_out"),
        ({"parameters": {}}, "tune.parameters"),
        ({"parameters": {"runtime.parts": {"low": 1, "hihg": 4}}}, "unknown key; did you mean 'high'"),
        ({"parameters": {"runtime.parts": {"low": 4, "high": 1}}}, "low 4 is not below high 1"),
        (only("runtime.prats", low=1, high=4), r"runtime\.prats: unknown key; did you mean"),
        (only("runtime.parts", low=0, high=4), r"tune\.parameters\.runtime\.parts: .*\(0\)"),
        ({"parameters": {"sweep.seeds": {"choices": [[0], [1]]}}}, "cannot be searched"),
        ({"parameters": {"tune.trials": {"low": 1, "high": 4}}}, "cannot be searched"),
        ({"parameters": {"workload.max_sequences": {"low": 1, "high": 4}}}, "cannot be searched"),
        ({"parameters": {"trace": {"choices": ["a", "b"]}}}, "cannot be searched"),
        (
            only("policies.eviction", choices=["a", "b"], **{"policies.eviction.x": {"low": 0, "high": 1}}),
            "overlaps with",
        ),
        (only("policies.evicton.lru", low=0.0, high=1.0), "unknown key; did you mean 'eviction'"),
        (only("policies.eviction.lruu", low=0.0, high=1.0), "every combination was refused.*lruu"),
    ],
)  # fmt: skip
def test_a_section_that_makes_no_sense_is_refused_in_one_line(
    write: Callable[..., str], tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    path = write(TUNE | {"trials": 2} | change)
    with pytest.raises(InputError, match=said) as error:
        tune_experiment(path, [], tmp_path / "out")
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["e.yaml"]


def test_what_the_sweep_sets_cannot_be_searched_too(write: Callable[..., str], tmp_path: Path) -> None:
    path = write(TUNE, sweep={"grid": {"runtime.parts": [1, 2]}})
    with pytest.raises(InputError, match=r"runtime\.parts: the sweep sets runtime\.parts; sweep or search"):
        tune_experiment(path, [], tmp_path / "out")


def test_an_experiment_without_the_section_or_with_one_sequence_is_refused(
    write: Callable[..., str], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="has no section tune"):
        tune_experiment(write(), [], tmp_path / "out")
    with pytest.raises(InputError, match="has one sequence"):
        tune_experiment(write(TUNE), ["workload.max_sequences=1"], tmp_path / "out")


def test_refused_combinations_are_told_and_the_search_goes_on(
    write: Callable[..., str], tmp_path: Path
) -> None:
    weights = {f"policies.eviction.{name}": {"choices": [0.25, 0.5]} for name in ("lru", "lfu")}
    found, out = tune_experiment(write(TUNE | {"parameters": weights, "trials": 8}), [], tmp_path / "out")
    refused = [row for row in rows(out) if row["state"] == "refused"]
    allowed = [trial for trial in found.trials if not trial.refused]
    assert {tuple(trial.values.values()) for trial in allowed} == {(0.25, 0.25)}
    assert refused
    assert all("together, not 1" in row["reason"] and row["miss_penalty"] == "" for row in refused)
    assert found.best.number == 0
    assert "nothing that was tried is better" in found.warnings()[0]


def test_without_optuna_it_says_what_to_install(
    write: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulator.tune.tuning.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"Optuna is not installed; pip install 'moesim\[tune\]'"):
        tune_experiment(write(TUNE), [], tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["e.yaml"]


# -- the folder, and interruptions ------------------------------------------------------------------


def test_other_results_are_not_replaced_unless_forced(write: Callable[..., str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    small = TUNE | {"trials": 1}
    tune_experiment(write(small), [], out)
    before = tables(out)
    with pytest.raises(InputError, match="holds the results of another run"):
        tune_experiment(write(small | {"seed": 4}), [], out)
    assert tables(out) == before
    tune_experiment(write(small | {"seed": 4}), [], out, HowToTune(force=True))
    assert tables(out) != before
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["tune_seed"] == 4
    assert "optuna" in manifest["packages"]
    assert any(line.startswith("trace t.parquet: ") for line in manifest["inputs"])


def test_a_search_that_was_killed_is_resumed_and_ends_as_an_undisturbed_one(
    write: Callable[..., str], tmp_path: Path
) -> None:
    path, out = write(TUNE | {"trials": 20}), tmp_path / "out"
    partial = tmp_path / "out.partial"
    script = (
        "import sys; from pathlib import Path; from simulator.tune.tuning import tune_experiment;"
        f"tune_experiment({path!r}, [], Path({str(out)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list(partial.glob("*.json"))) < 6:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not out.exists()
    kept = len(list(partial.glob("*.json")))
    half = min(partial.glob("*.json"))
    half.write_text(half.read_text(encoding="utf-8")[:20], encoding="utf-8")
    with pytest.raises(InputError, match=r"unfinished.*--resume"):
        tune_experiment(path, [], out)
    assert len(list(partial.glob("*.json"))) == kept
    tune_experiment(path, [], out, HowToTune(resume=True))
    tune_experiment(path, [], tmp_path / "undisturbed")
    assert tables(out) == tables(tmp_path / "undisturbed")
    assert not partial.exists()


def test_a_resumed_search_plays_only_what_is_missing(
    write: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import simulator.tune.search as module

    real, plays = module.play, []

    def stops(ready: Any, library: Any) -> Any:
        plays.append(ready.digest)
        if len(plays) == 5:
            raise KeyboardInterrupt
        return real(ready, library)

    monkeypatch.setattr(module, "play", stops)
    with pytest.raises(KeyboardInterrupt):
        tune_experiment(write(TUNE), [], tmp_path / "out")
    first, plays = plays[:4], []
    monkeypatch.setattr(
        module, "play", lambda ready, library: plays.append(ready.digest) or real(ready, library)
    )
    tune_experiment(write(TUNE), [], tmp_path / "out", HowToTune(resume=True))
    resumed, plays = plays, []
    tune_experiment(write(TUNE), [], tmp_path / "again")
    assert len(plays) == len(resumed) + len(first)


# -- what is said of it -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held_out", "said"),
    [
        ((1.0, 1.1), "no gain on held-out sequences"),
        ((1.0, 1.0), "no gain on held-out sequences"),
        ((1.0, 0.96), "the gain on held-out sequences is less than half"),
        ((1.0, 0.94), ""),
    ],
)
def test_a_gain_that_does_not_hold_is_warned_of(
    write: Callable[..., str], tmp_path: Path, held_out: tuple[float, float], said: str
) -> None:
    found, _ = tune_experiment(write(TUNE | {"trials": 1}), [], tmp_path / "out")
    trial = type(found.best)(1, found.trials[1].values, 0.9)
    changed = Findings(
        found.subject, found.trials, trial, Pair(*held_out), Pair(1.0, 0.9), found.all, (), 2, ()
    )
    assert [said] == [line[: len(said)] for line in changed.warnings()] or (
        not said and not changed.warnings()
    )


def test_gains_are_shares_of_what_it_was() -> None:
    assert Pair(2.0, 1.0).gain(maximise=False) == 0.5
    assert Pair(2.0, 3.0).gain(maximise=True) == 0.5
    assert Pair(2.0, 3.0).gain(maximise=False) == -0.5
    assert Pair(0.0, 0.25).gain(maximise=True) == 0.25


def test_the_command_prints_what_it_found_and_nothing_else_into_a_pipe(
    write: Callable[..., str], tmp_path: Path
) -> None:
    command = [
        sys.executable,
        "-m",
        "simulator.cli",
        "tune",
        write(TUNE | {"trials": 1}),
        "-o",
        "out",
        "--json",
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["metric"] == "miss_penalty"
    assert set(said["held_out"]) == {"as_it_is", "best", "gain"}
    assert set(said["best"]["parameters"]) == {*(f"policies.eviction.{n}" for n in WEIGHTS), "runtime.parts"}
    assert all(line.startswith("warning: ") for line in done.stderr.splitlines())
    assert Tune.model_validate(TUNE).metric == said["metric"]


def test_the_experiment_that_tunes_hobbit_is_valid() -> None:
    from simulator.config.yaml_file import find_named, read_yaml
    from simulator.tune.subject import read_subject

    subject = read_subject(read_yaml(find_named("experiments", "tune-hobbit")), [])
    assert list(subject.space.settings) == [f"policies.eviction.{name}" for name in WEIGHTS]
    assert subject.tune.metric == "miss_penalty"
