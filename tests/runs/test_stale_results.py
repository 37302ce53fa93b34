"""Stale results: whatever decides a run and was changed, --resume does not believe what was there before."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from simulator.errors import InputError
from simulator.experiment.sweep import RunSpec
from simulator.runs import backends as execution
from simulator.runs import play as playing
from simulator.runs.backends import Checked, Failure, Played
from simulator.runs.experiment import HowToRun, run_experiment
from tests.command_line import moesim
from tests.failing import copied
from tests.places import ROOT, WHOLE_PROFILE
from tests.sweep_files import write_experiment, write_short_trace

CACHES = [0.125, 0.25]
SWEEP = {"grid": {"memory.gpu_expert_cache.fraction": CACHES}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with an experiment of two runs on files of its own."""
    shutil.copy(WHOLE_PROFILE, tmp_path / "h.yaml")
    shutil.copy(ROOT / "models" / "olmoe-1b-7b.yaml", tmp_path / "m.yaml")
    write_short_trace(tmp_path / "learn.parquet", 1, 16)
    write_experiment(tmp_path, "base.yaml")
    own = {"extends": "base.yaml", "sweep": SWEEP, "training_trace": str(tmp_path / "learn.parquet")}
    own |= {key: str(tmp_path / name) for key, name in (("hardware", "h.yaml"), ("model", "m.yaml"))}
    own |= {"trace": str(tmp_path / "t.parquet"), "policies": {"eviction": "static-popularity"}}
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(own), encoding="utf-8")
    return tmp_path


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def shorten(path: Path) -> None:
    write_short_trace(path, 1, 9)


CHANGES: dict[str, Callable[[Path], object]] = {
    "trace": lambda folder: shorten(folder / "t.parquet"),
    "training trace": lambda folder: shorten(folder / "learn.parquet"),
    "hardware": lambda folder: rewrite(folder / "h.yaml", "{value: 0.5,", "{value: 0.4,"),
    "model": lambda folder: rewrite(folder / "m.yaml", "vocab: ", "vocab: 1"),
    "extended experiment": lambda folder: rewrite(
        folder / "base.yaml", "name: e", "name: e\nworkload: {max_decode_tokens: 1}"
    ),
}


def interrupted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Play the first run only."""
    original = execution.execute

    def first_only(spec: RunSpec, share: object = None) -> Played | Failure:
        return Failure("here", "enough") if spec.index else original(spec)

    with monkeypatch.context() as patch:
        patch.setattr(execution, "execute", first_only)
        with pytest.raises(InputError, match="enough"):
            run_experiment(str(folder / "e.yaml"), [], folder / "out")


def resumed(folder: Path, monkeypatch: pytest.MonkeyPatch, out: str = "out") -> list[int]:
    """Resume, and return the runs that were played."""
    original, played = execution.execute, []

    def noting(spec: RunSpec, share: object = None) -> Played | Failure:
        played.append(spec.index)
        return original(spec)

    with monkeypatch.context() as patch:
        patch.setattr(execution, "execute", noting)
        run_experiment(str(folder / "e.yaml"), [], folder / out, HowToRun(resume=True))
    return played


@pytest.mark.parametrize("what", CHANGES)
def test_what_is_changed_between_two_runs_is_played_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    interrupted(folder, monkeypatch)
    CHANGES[what](folder)
    assert resumed(folder, monkeypatch) == [0, 1]
    run_experiment(str(folder / "e.yaml"), [], folder / "fresh")
    assert (folder / "out" / "summary.csv").read_bytes() == (folder / "fresh" / "summary.csv").read_bytes()


def test_what_is_not_changed_is_not_played_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(folder, monkeypatch)
    os.utime(folder / "t.parquet", (1, 1))
    (folder / "e.yaml").write_text("# other words\n" + (folder / "e.yaml").read_text())
    assert resumed(folder, monkeypatch) == [1]


@pytest.mark.parametrize("name", ["__version__", "own_code"])
def test_another_moesim_believes_nothing_and_replaces_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    run_experiment(str(folder / "e.yaml"), [], folder / "out")
    monkeypatch.setattr(playing, name, (lambda: "other") if name == "own_code" else "0.0.0")
    for resume in (False, True):
        with pytest.raises(InputError, match="holds the results of another run, or of other inputs"):
            run_experiment(str(folder / "e.yaml"), [], folder / "out", HowToRun(resume=resume))


def test_a_new_name_is_in_all_rows_and_plays_nothing_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(folder, monkeypatch)
    (folder / "e.yaml").write_text((folder / "e.yaml").read_text() + "name: later\ndescription: new\n")
    assert resumed(folder, monkeypatch) == [1]
    rows = (folder / "out" / "summary.csv").read_text().splitlines()
    assert [row.split(",")[1] for row in rows] == ["experiment", "later", "later"]
    configs = yaml.safe_load_all((folder / "out" / "config.resolved.yaml").read_text())
    assert [(one["name"], one["description"]) for one in configs] == [("later", "new")] * 2


def test_finished_results_under_another_name_are_not_shown_as_these(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert resumed(folder, monkeypatch) == [0, 1]
    assert resumed(folder, monkeypatch) == []
    (folder / "e.yaml").write_text((folder / "e.yaml").read_text() + "name: later\n")
    assert resumed(folder, monkeypatch) == [0, 1]


@pytest.mark.parametrize("name", ["summary.csv", "tokens.parquet", "config.resolved.yaml"])
def test_finished_results_that_were_edited_are_not_believed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    assert resumed(folder, monkeypatch) == [0, 1]
    path = folder / "out" / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-40] + bytes([whole[-40] ^ 1]) + whole[-39:])
    assert resumed(folder, monkeypatch) == [0, 1]
    assert path.read_bytes() == whole


def test_a_file_that_changes_during_a_sweep_fails_the_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a process loads a trace later than the one that checked the runs."""
    original = execution.execute

    def late(spec: RunSpec, share: object = None) -> Played | Failure:
        if spec.index == 1:
            shorten(folder / "t.parquet")
            execution.library.cache_clear()
        return original(spec)

    monkeypatch.setattr(execution, "execute", late)
    with pytest.raises(InputError, match="a file that it reads was changed during the sweep"):
        run_experiment(str(folder / "e.yaml"), [], folder / "out")


def test_a_second_sweep_of_one_process_reads_its_files_again(folder: Path) -> None:
    first = run_experiment(str(folder / "e.yaml"), [], folder / "one").runs
    shorten(folder / "t.parquet")
    second = run_experiment(str(folder / "e.yaml"), [], folder / "two").runs
    assert [run.inputs != other.inputs for run, other in zip(first, second, strict=True)] == [True, True]
    assert [run.metrics["lookups"] != o.metrics["lookups"] for run, o in zip(first, second, strict=True)] == [
        True,
        True,
    ]


def test_what_cannot_be_known_is_said_where_runs_are_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(spec: RunSpec) -> Checked | InputError:
        checked = execution.check(spec)
        assert isinstance(checked, Checked)
        return Checked(checked.digest, ["policy eviction x: x calls open"])

    monkeypatch.setattr(execution.Here, "checks", lambda self, specs: map(check, specs))
    out, said = folder / "out", "kept runs may be stale"
    assert said not in str(run_experiment(str(folder / "e.yaml"), [], out).warnings)
    done = run_experiment(str(folder / "e.yaml"), [], out, HowToRun(resume=True))
    assert done.already
    assert [line for line in done.warnings if said in line] == [
        "kept runs may be stale, start anew with --force if so: policy eviction x: x calls open"
    ]


# -- policies of others, by the command line ---------------------------------------------------------------


def test_a_changed_plugin_is_not_taken_for_the_old_one(tmp_path: Path) -> None:
    folder = copied("04", tmp_path)
    plugin, about = folder / "plug" / "plugpol.py", folder / "plug" / "plug-1.0.dist-info" / "METADATA"
    command = ("run", "e.yaml", "--out", "out", "-j1")
    rewrite(plugin, "P(FIFO)", "P(LRU)")
    rewrite(about, "Version: 2.0", "Version: 1.0")
    assert moesim(folder, *command, PYTHONPATH="plug").returncode == 0
    before = (folder / "out" / "summary.csv").read_bytes()
    manifest = json.loads((folder / "out" / "manifest.json").read_text())
    (line,) = (line for line in manifest["inputs"] if "plug" in line)
    assert line.startswith("policy eviction plugp: plug 1.0, ")
    rewrite(plugin, "P(LRU)", "P(FIFO)")  # the version stays
    for options in (["--resume"], []):
        done = moesim(folder, *command, *options, PYTHONPATH="plug")
        assert done.returncode == 2
        assert "holds the results of another run, or of other inputs" in done.stderr
    assert (folder / "out" / "summary.csv").read_bytes() == before
    assert moesim(folder, *command, "--force", PYTHONPATH="plug").returncode == 0
    assert (folder / "out" / "summary.csv").read_bytes() != before


def test_a_changed_module_of_a_policys_file_is_not_taken_for_the_old_one(tmp_path: Path) -> None:
    write_experiment(tmp_path, policies={"eviction": "./own.py:P"}, sweep=SWEEP)
    (tmp_path / "own.py").write_text("import stale_helper\nclass P(stale_helper.Base):\n    'x'\n")
    helper = tmp_path / "stale_helper.py"
    helper.write_text("from policies.eviction.lru import LRU as Base\n")
    command = ("run", "e.yaml", "--out", "out", "-j1", "--resume")
    assert moesim(tmp_path, *command, PYTHONPATH=".").returncode == 0
    again = moesim(tmp_path, *command, PYTHONPATH=".")
    assert again.returncode == 0
    assert "these results are complete: nothing was played" in again.stdout
    helper.write_text("from policies.eviction.fifo import FIFO as Base\n")
    done = moesim(tmp_path, *command, PYTHONPATH=".")
    assert done.returncode == 2
    assert "or of other inputs" in done.stderr
