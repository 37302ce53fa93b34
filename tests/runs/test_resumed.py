"""What is run again, what is left out, and over how many processes: the same bytes in the end."""

from __future__ import annotations

import csv
import json
import shutil
import warnings
from pathlib import Path

import pytest

from simulator.errors import InputError
from simulator.experiment.sweep import RunSpec
from simulator.results.summary import summary_row
from simulator.runs import backends as execution
from simulator.runs.backends import Backend, Failure
from simulator.runs.experiment import HowToRun, run_experiment
from tests.command_line import moesim
from tests.runs.sweeps import Told, finished, tables
from tests.sweep_files import write_experiment


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
    rows[1].with_suffix(".experts.parquet").unlink()  # a row without one of its tables
    (partial / f".{'0' * 64}.json.x7.partial").write_text("half")
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


def test_a_finished_sweep_is_not_run_again(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    first = run_experiment(str(experiment), ["figures=[hit-rate]"], out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    monkeypatch.setattr(execution, "execute", lambda *_: pytest.fail("it ran again"))
    again = run_experiment(str(experiment), ["figures=[hit-rate]"], out, HowToRun(resume=True))
    assert [summary_row(run) for run in again.runs] == [summary_row(run) for run in first.runs]
    assert again.warnings == first.warnings
    assert again.figures == sorted(first.figures)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    monkeypatch.undo()
    (out / "summary.csv").write_text("run\n", encoding="utf-8")  # no longer whole
    run_experiment(str(experiment), ["figures=[hit-rate]"], out, HowToRun(resume=True))
    assert [path.name for path in before if not path.exists()] == []
    assert (out / "summary.csv").stat().st_size > 100


def test_a_point_that_is_wrong_is_refused_by_processes_too(experiment: Path, tmp_path: Path) -> None:
    sets = ["sweep={grid: {memory.gpu_expert_cache: [60 GiB, 1 GiB, 2 GiB, 3 GiB]}}"]
    loud = warnings.catch_warnings(record=True, action="always")
    with loud as said, pytest.raises(InputError, match="60 GiB"):
        run_experiment(str(experiment), sets, tmp_path / "out", HowToRun(backend=Backend(jobs=2)))
    assert list(tmp_path.iterdir()) == []
    assert [str(one.message) for one in said] == []  # joblib warns of what it was not asked to finish


def test_what_others_put_into_the_results_stays(
    experiment: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run_experiment(str(experiment), [], out)
    (out / "notes").mkdir()
    (out / "notes" / "mine.txt").write_text("mine", encoding="utf-8")
    (out / "figures").mkdir(exist_ok=True)
    (out / "figures" / "mine.png").write_bytes(b"mine")
    (out / "summary.csv").write_text("edited", encoding="utf-8")
    run_experiment(str(experiment), [], out)
    assert tables(out) == undisturbed
    assert (out / "notes" / "mine.txt").read_text(encoding="utf-8") == "mine"
    assert (out / "figures" / "mine.png").read_bytes() == b"mine"
    run_experiment(str(experiment), [], out, HowToRun(force=True))
    assert (out / "notes" / "mine.txt").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    "damage", ["experts.parquet", "tokens.parquet", "summary.csv", "figures/hit-rate.csv"]
)
def test_a_finished_sweep_that_is_not_whole_is_made_whole(
    experiment: Path, undisturbed: dict[str, bytes], tmp_path: Path, damage: str
) -> None:
    out = tmp_path / "out"
    run_experiment(str(experiment), ["figures=[hit-rate]"], out)
    (out / damage).unlink()
    run_experiment(str(experiment), ["figures=[hit-rate]"], out, HowToRun(resume=True))
    assert (out / damage).stat().st_size > 100
    whole = {name: content for name, content in tables(out).items() if name != "config.resolved.yaml"}
    assert whole.items() <= undisturbed.items()


def test_replacing_results_can_keep_the_runs_that_are_finished(experiment: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_experiment(str(experiment), ["sweep.grid.system=[fiddler]"], out)
    out.with_name("out.partial").mkdir()
    with pytest.raises(InputError, match="--resume --force, which keeps the runs that are finished"):
        run_experiment(str(experiment), [], out)


def test_only_what_failed_is_run_again(
    experiment: Path, undisturbed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, original, played = tmp_path / "out", execution.execute, []

    def fails_twice(spec: RunSpec, share: object = None) -> object:
        return Failure("here", "bad luck") if spec.index in {2, 5} else original(spec, share)  # type: ignore[arg-type]

    monkeypatch.setattr(execution, "execute", fails_twice)
    done = run_experiment(str(experiment), [], out, HowToRun(keep_going=True))
    assert [run.identity["run"] for run in done.runs] == [0, 1, 3, 4, 6, 7]
    assert finished(out) == 6
    monkeypatch.setattr(
        execution, "execute", lambda spec, share=None: played.append(spec.index) or original(spec, share)
    )
    run_experiment(str(experiment), [], out, HowToRun(resume=True))
    assert played == [2, 5]
    assert tables(out) == undisturbed
    assert not out.with_name("out.partial").exists()


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


def test_points_that_are_refused_beforehand_are_left_out(tmp_path: Path) -> None:
    """One value is no fraction, a trace is not there, a cache does not fit; the others run."""
    sizes = [1.5, 0.25, 0.5]
    points = [{"trace": "./t.parquet", "memory.gpu_expert_cache": {"fraction": x}} for x in sizes] + [
        {"trace": "./later.parquet", "memory.gpu_expert_cache": {"fraction": 0.25}},
        {"trace": "./t.parquet", "memory.gpu_expert_cache": "60 GiB"},
    ]
    write_experiment(tmp_path, sweep={"list": points, "seeds": [0, 1]})
    command = ("run", "e.yaml", "--out", "out", "-j", "1")
    assert moesim(tmp_path, *command).returncode == 2
    assert not (tmp_path / "out").exists()
    done = moesim(tmp_path, *command, "--keep-going")
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if line.startswith("failed: ")]
    assert len(said) == 5  # one that no seed makes a run, two with two seeds each
    for what in ("1.5", "later.parquet", "60 GiB"):
        assert any(what in line for line in said)
    with (tmp_path / "out" / "summary.csv").open(encoding="utf-8", newline="") as file:
        assert [row["run"] for row in csv.DictReader(file)] == ["2", "3", "4", "5"]
    again = moesim(tmp_path, *command, "--keep-going", "--resume")
    assert again.returncode == 1
    assert "nothing was played" in again.stdout
    assert [line for line in again.stderr.splitlines() if line.startswith("failed: ")] == said
    shutil.copy(tmp_path / "t.parquet", tmp_path / "later.parquet")
    more = moesim(tmp_path, *command, "--keep-going", "--resume", "--force", "--json")
    assert more.returncode == 1
    assert [row["run"] for row in json.loads(more.stdout)] == [2, 3, 4, 5, 6, 7]


def test_a_sweep_of_which_every_point_is_refused_is_refused(experiment: Path, tmp_path: Path) -> None:
    for values in ("[1.5, 2.5]", "[60 GiB, 61 GiB]"):
        key = "memory.gpu_expert_cache" + (".fraction" if "1.5" in values else "")
        with pytest.raises(InputError, match=r"1\.5|60 GiB"):
            run_experiment(
                str(experiment),
                [f"sweep={{grid: {{{key}: {values}}}}}"],
                tmp_path / "out",
                HowToRun(keep_going=True),
            )
    assert list(tmp_path.iterdir()) == []


def test_processes_give_the_same_bytes(
    experiment: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    told = Told()
    how = HowToRun(backend=Backend(jobs=2))
    run_experiment(str(experiment), [], tmp_path / "out", how, told)
    assert tables(tmp_path / "out") == undisturbed
    assert told.shares == [(i, 8, 1000) for i in range(8)]
    assert sorted(told.runs) == list(range(8))


def test_force_starts_anew(experiment: Path, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "out"
    partial = out.with_name("out.partial")
    partial.mkdir()
    (partial / "lock").touch()
    (partial / f"{'a' * 64}.json").write_text("{}")
    with pytest.raises(InputError, match="an unfinished sweep"):
        run_experiment(str(experiment), [], out)
    run_experiment(str(experiment), [], out, HowToRun(force=True))
    assert tables(out) == undisturbed
    assert not partial.exists()
