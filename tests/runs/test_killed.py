"""Sweeps that are killed or interrupted: nothing is left behind, and the same bytes come in the end."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from simulator.errors import InputError
from simulator.results.store import Entries
from simulator.runs.backends import Backend
from simulator.runs.experiment import HowToRun, run_experiment
from tests.places import ROOT
from tests.runs.sweeps import finished, kill, start, tables, wait_for


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
