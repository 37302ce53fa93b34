"""``moesim validate measured|published``: faults, the same bytes, and what survives a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from simulator.results.store import Entries
from tests.command_line import moesim, refused
from tests.places import ROOT
from tests.validate.rows.hand_made import hand_made
from tests.validate.rows.row_files import row, write_rows


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*")}


def test_a_fault_is_one_line_and_nothing_is_written(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.yaml", row(value=-1))
    line = refused(tmp_path, "validate", "published", "-o", "out", "--from", "a.yaml")
    assert line.startswith("moesim: a.yaml:16: rows.0.value: ")
    line = refused(tmp_path, "validate", "measured", "-o", "out", "--from", "nowhere")
    assert line == "moesim: nowhere: no such file"
    write_rows(tmp_path / "a.yaml")
    line = refused(tmp_path, "validate", "measured", "-o", "out", "--from", "a.yaml", "--only", "two")
    assert line.startswith("moesim: --only: no row is called two")


def test_the_same_bytes_twice_and_no_other_results_are_replaced(tmp_path: Path) -> None:
    hand_made(tmp_path, row(id="a", value=0.5), row(id="b", value=0.9))
    words = ["validate", "published", "--from", "rows.yaml", "-o"]
    for out in ("first", "second"):
        done = moesim(tmp_path, *words, out)
        assert done.returncode == 0, done.stderr
    assert "all: 2 rows, median error 41%, 50% within 30 %" in done.stdout
    first = files(tmp_path / "first")
    assert {"rows.csv", "report.md", "figures/scatter.png", "manifest.json"} <= {*first}
    assert first == files(tmp_path / "second")
    shown = moesim(tmp_path, *words, "first", "--json")
    assert [one["id"] for one in json.loads(shown.stdout)] == ["a", "b"]
    assert "holds the results of another run" in refused(tmp_path, *words, "first", "--only", "a")
    assert moesim(tmp_path, *words, "first", "--only", "a", "--force").returncode == 0
    assert len((tmp_path / "first" / "rows.csv").read_text().splitlines()) == 2


def test_what_is_played_survives_a_kill(tmp_path: Path) -> None:
    rows = [row(id=f"r{n}", set={"memory.gpu_expert_cache": f"{n} MB"}) for n in range(1000, 3000, 50)]
    hand_made(tmp_path, *rows)
    words = ["validate", "published", "--from", "rows.yaml", "-o"]
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from simulator.cli import main; main()"
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words, "out"], cwd=tmp_path, stdout=quiet, stderr=quiet
    )
    partial, deadline = tmp_path / "out.partial", time.monotonic() + 60
    while not list(partial.glob("?*.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = {path.stem: path.read_text() for path in partial.glob("[0-9a-f]*.json")}
    assert kept
    one = next(iter(kept))
    assert moesim(tmp_path, *words, "out").returncode == 0
    assert moesim(tmp_path, *words, "whole").returncode == 0
    assert one in json.loads((tmp_path / "out" / "runs.json").read_text())
    assert files(tmp_path / "out") == files(tmp_path / "whole")
    assert not partial.exists()


def test_the_runs_of_an_unfinished_sweep_stay(tmp_path: Path) -> None:
    hand_made(tmp_path, row(id="a", value=0.5))
    partial = tmp_path / "out.partial"
    partial.mkdir()
    (partial / "lock").touch()
    sweep = "a" * 64
    Entries(partial).put(sweep, {"row": {}})
    for _ in range(2):
        assert moesim(tmp_path, "validate", "published", "--from", "rows.yaml", "-o", "out").returncode == 0
        assert {path.name for path in partial.iterdir()} == {"lock", f"{sweep}.json"}
    Entries(partial).remove({sweep})
    assert moesim(tmp_path, "validate", "published", "--from", "rows.yaml", "-o", "out").returncode == 0
    assert not partial.exists()
