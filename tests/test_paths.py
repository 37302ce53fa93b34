"""A path in a file is relative to that file, one of the command line to the working folder."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from simulator import data
from simulator.config.paths import anchored, key_of, relative_to, short_names, shown
from simulator.config.yaml_file import dump_yaml, read_yaml
from tests.command_line import moesim, refused
from tests.failing import copied

BASE = """\
name: base
model: ../shared/m.yaml
hardware: ./h.yaml
trace: t.parquet
training_trace: ../shared/learn.parquet
workload: {max_sequences: 1, max_decode_tokens: 2}
memory: {gpu_expert_cache: {fraction: 0.5}}
policies: {eviction: own.py:Own}
sweep: {grid: {policies.cpu_eviction: [lru]}}
"""
OWN = """\
from policies.eviction.lru import LRU


class Own(LRU):
    '''Least recently used, of a file.'''
"""


def tree(root: Path) -> Path:
    """Write an experiment in ``root/lab`` that names files beside it and in ``root/shared``."""
    for name in ("lab", "shared", "elsewhere"):
        (root / name).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(data.folder("models") / "olmoe-1b-7b.yaml", root / "shared/m.yaml")
    shutil.copyfile(data.folder("hardware_profiles") / "rtx3060-12gb-pcie4.yaml", root / "lab/h.yaml")
    for name in ("lab/t.parquet", "shared/learn.parquet"):
        shutil.copyfile(data.folder("traces") / "olmoe-mini.parquet", root / name)
    (root / "lab/own.py").write_text(OWN)
    (root / "lab/base.yaml").write_text(BASE.partition("sweep")[0])
    (root / "elsewhere/child.yaml").write_text("extends: ../lab/base.yaml\nname: child\n")
    return root


def row(folder: Path) -> dict[str, str]:
    """Return the only row of a summary."""
    (found,) = csv.DictReader((folder / "summary.csv").read_text().splitlines())
    return found


def ran(folder: Path, *words: str) -> None:
    done = moesim(folder, "run", *words)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("folder", "file"),
    [
        ("lab", "./base.yaml"),
        (".", "lab/base.yaml"),
        ("elsewhere", "child.yaml"),
        (".", "elsewhere/child.yaml"),
    ],
)
def test_it_does_not_matter_where_it_is_run_from(tmp_path: Path, folder: str, file: str) -> None:
    ran(tree(tmp_path) / folder, file, "--out", str(tmp_path / "out"))
    found = row(tmp_path / "out")
    assert (found["system"], found["trace"], found["learnt_from"]) == ("own.py:Own", "t", "learn.parquet")
    assert str(tmp_path) not in (tmp_path / "out/summary.csv").read_text()


def test_hashes_and_tables_do_not_depend_on_where_the_folder_lies(tmp_path: Path) -> None:
    said = []
    for place in ("one", "another/and/deeper"):
        root = tree(tmp_path / place)
        ran(root, "elsewhere/child.yaml", "--out", "out")
        manifest = json.loads((root / "out/manifest.json").read_text())
        files = [(root / "out" / name).read_bytes() for name in ("summary.csv", "config.resolved.yaml")]
        said.append((manifest["config_sha256"], manifest["inputs"], files))
    assert said[0] == said[1]


def test_a_resolved_experiment_runs_from_anywhere_and_is_the_same_run(tmp_path: Path) -> None:
    root = tree(tmp_path)
    ran(root / "lab", "base.yaml", "--out", "results/out")
    ran(root / "elsewhere", "../lab/results/out/config.resolved.yaml", "--out", "again")
    assert row(root / "elsewhere/again") == row(root / "lab/results/out")
    found = read_yaml(root / "lab/results/out/config.resolved.yaml").data
    assert found["trace"] == "../../t.parquet"
    assert found["policies"]["eviction"] == "../../own.py:Own"


def test_a_path_of_the_command_line_is_relative_to_the_working_folder(tmp_path: Path) -> None:
    root = tree(tmp_path)
    shutil.move(root / "lab/t.parquet", root / "elsewhere/moved.parquet")
    sets = ("--set", "trace=moved.parquet", "--set", "policies={eviction: {name: ../lab/own.py:Own}}")
    ran(root / "elsewhere", "child.yaml", *sets, "--out", "out")
    assert row(root / "elsewhere/out")["trace"] == "moved"


def test_a_sweep_over_files_shows_names_that_tell_them_apart(tmp_path: Path) -> None:
    root = tree(tmp_path)
    shutil.copyfile(root / "lab/t.parquet", root / "shared/t.parquet")
    shutil.copyfile(root / "lab/own.py", root / "shared/own.py")
    (root / "lab/s.yaml").write_text(
        BASE.partition("sweep")[0]
        + "sweep: {zip: {trace: [t.parquet, ../shared/t.parquet],"
        + " policies.eviction: [own.py:Own, ../shared/own.py:Own]}}\n"
    )
    ran(root, "lab/s.yaml", "--out", "out")
    rows = list(csv.DictReader((root / "out/summary.csv").read_text().splitlines()))
    assert [one["trace"] for one in rows] == ["lab/t.parquet", "shared/t.parquet"]
    assert [one["policies.eviction"] for one in rows] == ["lab/own.py:Own", "shared/own.py:Own"]
    assert str(tmp_path) not in (root / "out/summary.csv").read_text()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("trace", "../traces/x.parquet"),
        ("training_trace", "x.parquet"),
        ("model", "./m.yaml"),
        ("hardware", "h.yaml"),
        ("policies", "{eviction: p.py:P}"),
    ],
)
def test_what_is_found_from_the_working_folder_only_gets_a_line_that_says_so(
    tmp_path: Path, key: str, value: str
) -> None:
    root = tree(tmp_path)
    (root / "traces").mkdir()
    for name in ("traces/x.parquet", "elsewhere/x.parquet", "elsewhere/m.yaml", "elsewhere/h.yaml"):
        (root / name).touch()
    (root / "elsewhere/p.py").touch()
    (root / "lab/deep").mkdir()
    (root / "lab/deep/e.yaml").write_text(f"extends: ../base.yaml\n{key}: {value}\n")
    line = refused(root / "elsewhere", "run", "../lab/deep/e.yaml", "--out", "out")
    assert "no such file" in line
    assert "is in the working folder, but a path in a file is relative to that file" in line


def test_a_base_is_beside_the_file_or_bundled(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "sub/e.yaml").write_text("extends: base.yaml\n")
    line = refused(tmp_path, "run", "sub/e.yaml", "--out", "out")
    assert "sub/e.yaml:1: extends: base.yaml: no such file; base.yaml is in the working folder" in line


def test_the_inputs_of_before(tmp_path: Path) -> None:
    folder = copied("f11", tmp_path)
    for where, file in ((folder / "base", "base.yaml"), (folder, "base/base.yaml"), (folder, "child.yaml")):
        ran(where, file, "--out", str(tmp_path / f"{where.name}-{Path(file).stem}-{len(file)}"))


EVERYWHERE: dict[str, Any] = {
    "model": "m/config.json",
    "hardware": "rtx3060-12gb-pcie4",
    "trace": "t.parquet",
    "training_trace": "/abs/t.parquet",
    "description": "a/b.parquet",
    "policies": {"eviction": "a/p.py:P", "prefetch": {"name": "p.py:Q", "kind": "x/y"}, "order": "as-routed"},
    "sweep": {
        "grid": {"trace": ["t.parquet", "olmoe-mini"], "workload.batch_size": [1, 2]},
        "grids": [{"model": ["m.yaml"]}],
        "zip": {"policies.eviction": ["p.py:P", {"name": "q.py:Q"}]},
        "list": [{"hardware": "h.yaml"}],
        "exclude": [{"trace": "t.parquet"}],
    },
    "tune": {
        "parameters": {"policies.eviction": {"choices": ["lru", "p.py:P"]}, "model": {"choices": ["m.yaml"]}}
    },
}  # fmt: skip


def test_paths_are_found_wherever_an_experiment_says_them() -> None:
    text = dump_yaml(anchored(EVERYWHERE, Path("/f")), width=10**6)
    assert text.count("/f/") == 12
    for kept in ("/abs/t.parquet", " a/b.parquet", "x/y", "rtx3060", " as-routed", "- olmoe-mini", "- lru"):
        assert kept in text, kept
    assert anchored(anchored(EVERYWHERE, Path("/f")), Path("/g")) == anchored(EVERYWHERE, Path("/f"))
    assert shown(anchored(EVERYWHERE, Path("/f")))["policies"]["eviction"] == "p.py:P"
    back = relative_to(anchored(EVERYWHERE, Path("/f")), Path("/f/out"))
    assert back["sweep"]["list"] == [{"hardware": "../h.yaml"}]
    assert back["sweep"]["grid"]["trace"] == ["../t.parquet", "olmoe-mini"]
    assert anchored("t.parquet", Path("/f"), key_of("sweep.grid.trace")) == "/f/t.parquet"


def test_names_are_as_long_as_they_must_be() -> None:
    found = short_names(["/a/b/t.parquet", "/a/c/t.parquet", "/x/u.parquet", "olmoe-mini"])
    assert list(found.values()) == ["b/t.parquet", "c/t.parquet", "u.parquet", "olmoe-mini"]


def test_the_best_of_a_search_runs_from_anywhere(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    root = tree(tmp_path)
    (root / "lab/tune.yaml").write_text(
        "extends: base.yaml\nname: searched\ntraining_trace:\nworkload: {max_sequences: 2}\n"
        "tune: {parameters: {policies.eviction: {choices: [own.py:Own, lfu]}},"
        " maximise: hit_rate, trials: 2}\n"
    )
    done = moesim(root / "elsewhere", "tune", "../lab/tune.yaml", "--out", "../out")
    assert done.returncode == 0, done.stderr
    assert "own.py:Own" in (root / "out/trials.csv").read_text()
    for name in ("trials.csv", "report.md", "best.yaml"):
        assert str(tmp_path) not in (root / "out" / name).read_text()
    ran(root / "shared", "../out/best.yaml", "--out", "best")
