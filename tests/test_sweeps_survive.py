"""Sweeps that are killed, interrupted, disturbed or spread over processes: the same bytes in the end."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from simulator import execute as execution
from simulator.errors import InputError
from simulator.execute import Backend, Failure
from simulator.runner import HowToRun, run_experiment
from simulator.store import Store
from simulator.trace.parquet import read_trace, write_trace

ROOT = Path(__file__).resolve().parent.parent
SYSTEMS = ["lru-on-demand", "hobbit", "fiddler", "lru-gate-lookahead"]


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an experiment of eight short runs."""
    folder = tmp_path_factory.mktemp("sweep")
    trace = read_trace(ROOT / "traces" / "olmoe-mini.parquet")
    few = np.flatnonzero((trace.sequence < 2) & (trace.position < 40))
    arrays = {
        name: getattr(trace, name)[few] for name in ("sequence", "position", "phase", "experts", "weights")
    }
    predicted = {
        name: tuple(a[few] for a in getattr(trace, name)) for name in ("predicted", "predicted_weights")
    }
    write_trace(
        replace(trace, **arrays, **predicted, gate_top=None, gate_top_p=None, token_id=None),
        folder / "t.parquet",
    )
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


@pytest.fixture(scope="module")
def undisturbed(experiment: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    run_experiment(str(experiment), [], out)
    return tables(out)


def tables(out: Path) -> dict[str, bytes]:
    return {
        name: (out / name).read_bytes() for name in ("summary.csv", "tokens.parquet", "config.resolved.yaml")
    }


def start(experiment: Path, out: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "simulator.cli", "run", str(experiment), "-o", str(out), *options]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True)


def kill(process: subprocess.Popen[bytes], how: signal.Signals) -> None:
    """Kill a sweep with its workers."""
    os.killpg(process.pid, how)
    process.wait()


def finished(out: Path) -> int:
    return len(list(out.with_name(f"{out.name}.partial").glob("*.json")))


def wait_for(out: Path, runs: int) -> None:
    deadline = time.monotonic() + 120
    while finished(out) < runs and not out.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_killed_at_five_moments_a_sweep_ends_with_the_same_bytes(
    experiment: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    draw = random.Random(7)
    for kill_no, runs in enumerate((0, 1, 2, 4, 6)):
        process = start(experiment, out, "--jobs", "2" if kill_no % 2 else "1", "--resume")
        wait_for(out, runs)
        time.sleep(draw.uniform(0, 0.3))
        kill(process, signal.SIGKILL)
        if out.exists():
            break
    run_experiment(str(experiment), [], out, HowToRun(resume=True))
    assert tables(out) == undisturbed
    assert not out.with_name("out.partial").exists()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sweep_says_nothing_and_can_be_resumed(
    experiment: Path, undisturbed: dict[str, bytes], tmp_path: Path, how: signal.Signals
) -> None:
    out = tmp_path / "out"
    process = start(experiment, out, "--jobs", "1")
    wait_for(out, 2)
    process.send_signal(how)
    assert process.wait(timeout=60) in {130, 143, -how}
    assert not out.exists()
    done = finished(out)
    assert done >= 2
    with pytest.raises(InputError, match="an unfinished sweep; continue it with --resume"):
        run_experiment(str(experiment), [], out)
    run_experiment(str(experiment), [], out, HowToRun(resume=True))
    assert tables(out) == undisturbed


def test_a_finished_run_is_not_run_again_and_a_half_written_one_is(
    experiment: Path, undisturbed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    played = []
    original = execution.execute

    def stop_after_five(spec: object, share: object = None) -> object:
        played.append(spec)
        return Failure("here", "enough") if len(played) == 6 else original(spec, share)  # type: ignore[arg-type]

    monkeypatch.setattr(execution, "execute", stop_after_five)
    with pytest.raises(InputError, match="the run failed; enough"):
        run_experiment(str(experiment), [], out)
    partial = out.with_name("out.partial")
    rows = sorted(partial.glob("*.json"))
    assert len(rows) == 5
    rows[0].write_text(rows[0].read_text()[:100])  # half a row
    rows[1].with_suffix(".parquet").unlink()  # a row without its tokens
    (partial / "0000.new").write_text("half")
    played.clear()
    monkeypatch.setattr(
        execution, "execute", lambda spec, share=None: played.append(spec) or original(spec, share)
    )
    run_experiment(str(experiment), [], out, HowToRun(resume=True))
    assert len(played) == 8 - 3
    assert tables(out) == undisturbed


def test_a_changed_experiment_reuses_only_what_it_still_asks_for(experiment: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    partial = out.with_name("out.partial")
    run_experiment(str(experiment), ["sweep.grid.system=[lru-on-demand]"], out)
    before = tables(out)
    with pytest.raises(InputError, match="holds the results of another run"):
        run_experiment(str(experiment), ["sweep.grid.system=[fiddler]"], out, HowToRun(resume=True))
    assert tables(out) == before
    assert not partial.exists()


def test_runs_that_fail_are_left_out_and_told(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(ready: object, *_: object) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(execution, "play", fails)
    with pytest.raises(InputError, match="every run failed; RuntimeError: out of luck"):
        run_experiment(str(experiment), [], tmp_path / "out", HowToRun(keep_going=True))
    assert list(tmp_path.iterdir()) == []
    calls = iter(range(8))
    original = execution.prepare

    def sometimes(spec: object, library: object) -> object:
        if next(calls) == 8 + 2:
            raise InputError("here", "bad")
        return original(spec, library)  # type: ignore[arg-type]

    monkeypatch.undo()
    calls = iter(range(99))
    monkeypatch.setattr(execution, "prepare", sometimes)
    done = run_experiment(str(experiment), [], tmp_path / "out", HowToRun(keep_going=True))
    assert [run.identity["run"] for run in done.runs] == [0, 1, 3, 4, 5, 6, 7]
    assert [failure.cause for failure in done.failures] == ["here: bad"]


def test_two_sweeps_do_not_share_a_folder(experiment: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(experiment, out, "--jobs", "1")
    wait_for(out, 1)
    try:
        with pytest.raises(InputError, match="another sweep is writing here"):
            run_experiment(str(experiment), [], out, HowToRun(resume=True))
        with pytest.raises(InputError, match="another sweep is writing here"):
            run_experiment(str(experiment), [], out, HowToRun(force=True))
    finally:
        kill(process, signal.SIGKILL)


def test_processes_give_the_same_bytes(
    experiment: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    told = []
    how = HowToRun(backend=Backend(jobs=2))
    run_experiment(str(experiment), [], tmp_path / "out", how, lambda *progress: told.append(progress))
    assert tables(tmp_path / "out") == undisturbed
    assert told == [(i, 8, 1000) for i in range(8)]


def test_a_full_disk_leaves_what_was_finished(
    experiment: Path, undisturbed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, puts = tmp_path / "out", []
    original = Store.put

    def put(self: Store, *args: object) -> None:
        puts.append(args)
        if len(puts) == 4:
            raise OSError(28, "No space left on device")
        original(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "put", put)
    with pytest.raises(InputError, match="cannot be written: No space left on device"):
        run_experiment(str(experiment), [], out)
    assert finished(out) == 3
    run_experiment(str(experiment), [], out, HowToRun(resume=True))
    assert tables(out) == undisturbed


def test_force_starts_anew(experiment: Path, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "out"
    partial = out.with_name("out.partial")
    partial.mkdir()
    (partial / "abc.json").write_text("{}")
    run_experiment(str(experiment), [], out, HowToRun(force=True))
    assert tables(out) == undisturbed
    assert not partial.exists()
