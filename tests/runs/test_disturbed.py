"""Sweeps disturbed by clocks, permissions, full disks and each other."""

from __future__ import annotations

import itertools
import json
import os
import signal
from datetime import datetime, tzinfo
from pathlib import Path

import pytest

from simulator.errors import InputError
from simulator.results.folder import workplace
from simulator.results.store import Store
from simulator.runs import backends as execution
from simulator.runs.backends import Failure
from simulator.runs.experiment import HowToRun, run_experiment
from tests.command_line import moesim
from tests.runs.sweeps import finished, kill, start, tables, wait_for


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
