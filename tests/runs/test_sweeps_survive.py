"""Sweeps that are killed, interrupted, disturbed or spread over processes: the same bytes in the end."""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings
from datetime import datetime, tzinfo
from pathlib import Path

import pytest
import yaml

from simulator.errors import InputError
from simulator.experiment.sweep import RunSpec
from simulator.results.folder import workplace
from simulator.results.store import Entries, Store
from simulator.results.summary import RunResult, summary_row
from simulator.runs import backends as execution
from simulator.runs.backends import Backend, Failure
from simulator.runs.experiment import HowToRun, run_experiment
from tests.sweep_files import ROOT, moesim, write_experiment, write_short_trace

SYSTEMS = ["lru-on-demand", "hobbit", "fiddler", "lru-gate-lookahead"]


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an experiment of eight short runs."""
    folder = tmp_path_factory.mktemp("sweep")
    write_short_trace(folder / "t.parquet")
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
    names = ("summary.csv", "tokens.parquet", "experts.parquet", "config.resolved.yaml")
    return {name: (out / name).read_bytes() for name in names}


class Told:
    """Progress that is kept."""

    def __init__(self) -> None:
        self.shares: list[tuple[int, int, int]] = []
        self.runs: list[object] = []

    def advance(self, done: int, runs: int, per_mille: int) -> None:
        self.shares.append((done, runs, per_mille))

    def ended(self, outcome: RunResult | Failure) -> None:
        assert isinstance(outcome, RunResult)
        self.runs.append(outcome.identity["run"])


def start(experiment: Path, out: Path, *options: str, stderr: int | None = None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "simulator.cli", "run", str(experiment), "-o", str(out), *options]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=stderr, start_new_session=True
    )


def kill(process: subprocess.Popen[bytes], how: signal.Signals) -> None:
    """Kill a sweep with its workers."""
    os.killpg(process.pid, how)
    process.wait()


def finished(out: Path) -> int:
    return len(list(out.with_name(f"{out.name}.partial").glob("*.json")))


def wait_for(out: Path, runs: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while finished(out) < runs and not out.exists():
        assert time.monotonic() < deadline
        assert process.poll() in {None, 0}
        time.sleep(0.02)


def test_killed_at_five_moments_the_small_comparison_ends_with_the_same_bytes(tmp_path: Path) -> None:
    small = ROOT / "experiments" / "policy-comparison-small.yaml"
    run_experiment(str(small), [], tmp_path / "undisturbed", HowToRun(backend=Backend(jobs=2)))
    out = tmp_path / "out"
    draw = random.Random(7)
    kills = 0
    for runs in (0, 2, 5, 11, 17):
        process = start(small, out, "--jobs", "2" if kills % 2 else "1", "--resume")
        wait_for(out, runs, process)
        time.sleep(draw.uniform(0, 0.3))
        kill(process, signal.SIGKILL)
        kills += not out.exists()
    assert kills == 5
    run_experiment(str(small), [], out, HowToRun(resume=True, backend=Backend(jobs=2)))
    assert tables(out) == tables(tmp_path / "undisturbed")
    assert not out.with_name("out.partial").exists()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sweep_says_one_line_and_can_be_resumed(
    experiment: Path, undisturbed: dict[str, bytes], tmp_path: Path, how: signal.Signals
) -> None:
    out = tmp_path / "out"
    process = start(experiment, out, "--jobs", "1", stderr=subprocess.PIPE)
    wait_for(out, 2, process)
    process.send_signal(how)
    _, said = process.communicate(timeout=60)
    assert said.decode() == "interrupted: what is finished is kept, --resume goes on\n"
    assert process.returncode in {130, 143}
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


def test_a_clock_that_goes_backwards_changes_nothing(
    experiment: Path, undisturbed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the sweep, files from the future and from long ago, then an hour earlier the other half."""
    out, original = tmp_path / "out", execution.execute
    monkeypatch.setattr(
        execution,
        "execute",
        lambda spec, share=None: Failure("here", "enough") if spec.index == 4 else original(spec, share),
    )
    with pytest.raises(InputError, match="enough"):
        run_experiment(str(experiment), [], out)
    monkeypatch.undo()
    for n, path in enumerate(sorted(out.with_name("out.partial").iterdir())):
        os.utime(path, (4e9, 4e9) if n % 2 else (1, 1))
    hours = itertools.count(20, -1)

    class Backwards(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Backwards:
            return cls(2020, 1, 1, next(hours), tzinfo=tz)

    monkeypatch.setattr("simulator.runs.experiment.datetime", Backwards)
    monkeypatch.setattr("simulator.results.manifest.datetime", Backwards)
    run_experiment(str(experiment), [], out, HowToRun(resume=True))
    assert tables(out) == undisturbed
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["started_utc"] > manifest["finished_utc"]


@pytest.mark.parametrize("where", ["a file/out", "/proc/moesim/out"])
def test_a_folder_that_cannot_be_made_is_refused_before_anything_runs(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr(execution, "execute", lambda *_: pytest.fail("it ran"))
    (tmp_path / "a file").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="name another folder with --out"):
        run_experiment(str(experiment), [], tmp_path / where)
    assert [path.name for path in tmp_path.iterdir()] == ["a file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_refused(experiment: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="cannot be written: Permission denied"):
        run_experiment(str(experiment), [], tmp_path / "out")
    tmp_path.chmod(0o700)


def test_permission_that_is_lost_leaves_what_was_finished(
    experiment: Path, undisturbed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder of the results cannot take the place of the old one: those stay, and so do the runs."""
    out = tmp_path / "out"
    run_experiment(str(experiment), [], out)

    def refuse(self: Path, target: Path) -> Path:
        raise PermissionError(13, "Permission denied", str(target))

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(InputError, match="cannot be written: Permission denied"):
        run_experiment(str(experiment), [], out)
    assert tables(out) == undisturbed
    assert finished(out) == 8


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
    wait_for(out, 1, process)
    try:
        with pytest.raises(InputError, match="another sweep is writing here"):
            run_experiment(str(experiment), [], out, HowToRun(resume=True))
        with pytest.raises(InputError, match="another sweep is writing here"):
            run_experiment(str(experiment), [], out, HowToRun(force=True))
    finally:
        kill(process, signal.SIGKILL)


def test_another_command_on_a_folder_in_use_is_told_so(experiment: Path, tmp_path: Path) -> None:
    with workplace(tmp_path / "out"):
        for options in ([], ["--resume", "--force"]):
            done = moesim(tmp_path, "run", str(experiment), "-o", "out", *options)
            assert done.returncode == 2
            assert "another sweep is writing here; wait for it" in done.stderr


def test_workers_end_with_the_process_that_wants_their_results(experiment: Path, tmp_path: Path) -> None:
    """SIGKILL of the parent alone: nobody is there to tell its workers."""
    out = tmp_path / "out"
    process = start(experiment, out, "--jobs", "2")
    wait_for(out, 1, process)
    workers = children(process.pid)
    assert len(workers) >= 2
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while left := [pid for pid in workers if alive(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def children(parent: int) -> list[int]:
    """Return the processes that a process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(path.parent.name))
    return found


def alive(pid: int) -> bool:
    """Return whether a process is there, and no zombie that nobody has waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_kill_while_tables_or_figures_are_written_leaves_nothing_behind(
    experiment: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = start(experiment, out, "--jobs", "1", "--set", "figures=[hit-rate, tokens-per-second]")
    partial = out.with_name("out.partial")
    deadline = time.monotonic() + 120
    while not (partial / "new").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.001)
    kill(process, signal.SIGKILL)
    assert (partial / "new").exists()
    run_experiment(str(experiment), [], out, HowToRun(resume=True))
    assert tables(out) == undisturbed
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_kill_at_the_very_end_leaves_nothing_that_stays(experiment: Path, tmp_path: Path) -> None:
    """The results are there, and so are the runs that they are made of, and one of another sweep."""
    out, partial = tmp_path / "out", tmp_path / "out.partial"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Entries, "remove", lambda *_: None)
        run_experiment(str(experiment), [], out)
    assert finished(out) == 8
    other = partial / f"{'a' * 64}.json"
    other.write_text("{}", encoding="utf-8")
    assert run_experiment(str(experiment), [], out, HowToRun(resume=True)).already
    assert [path.name for path in partial.iterdir() if path.name != "lock"] == [other.name]
    other.unlink()
    run_experiment(str(experiment), [], out, HowToRun(resume=True))
    assert not partial.exists()


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


def test_a_full_disk_while_figures_are_drawn_names_the_folder_that_was_asked_for(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("simulator.plots.save.whole", full)
    out = tmp_path / "out"
    with pytest.raises(InputError, match="No space left on device") as told:
        run_experiment(str(experiment), ["figures=[hit-rate]"], out)
    assert told.value.where == str(out / "figures")
    assert finished(out) == 8


def test_processes_give_the_same_bytes(
    experiment: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    told = Told()
    how = HowToRun(backend=Backend(jobs=2))
    run_experiment(str(experiment), [], tmp_path / "out", how, told)
    assert tables(tmp_path / "out") == undisturbed
    assert told.shares == [(i, 8, 1000) for i in range(8)]
    assert sorted(told.runs) == list(range(8))


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
    (partial / "lock").touch()
    (partial / f"{'a' * 64}.json").write_text("{}")
    with pytest.raises(InputError, match="an unfinished sweep"):
        run_experiment(str(experiment), [], out)
    run_experiment(str(experiment), [], out, HowToRun(force=True))
    assert tables(out) == undisturbed
    assert not partial.exists()
