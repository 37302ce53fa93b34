"""Streams that are closed, full, or of another encoding: the same results, and status 0."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sweep_files import write_experiment

RUN = f"{sys.executable} -m simulator.cli run e.yaml --out out"
LATIN = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "latin-1"}


def shell(folder: Path, command: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["/bin/sh", "-c", command], cwd=folder, env=os.environ | environment, capture_output=True, check=False
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    sweep = {"grid": {"memory.gpu_expert_cache.fraction": [0.125, 0.25]}}
    write_experiment(tmp_path, sweep=sweep)
    return tmp_path


@pytest.mark.parametrize("closed", ["2>&- -j 2", ">&- -j 1", "<&- >&- 2>&- -j 2"])
def test_closed_streams_cost_nothing(folder: Path, closed: str) -> None:
    done = shell(folder, f"{RUN} {closed}")
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
    assert (folder / "out" / "summary.csv").exists()
    assert not (folder / "out.partial").exists()


def test_letters_that_an_encoding_lacks_are_replaced(folder: Path) -> None:
    assert shell(folder, f"{RUN} -j 1", **LATIN).returncode == 0
    compared = shell(folder, f"{sys.executable} -m simulator.cli compare out", **LATIN)
    assert (compared.returncode, b"Traceback" in compared.stderr) == (0, False)
    assert b"????" in compared.stdout  # the lines of a table
    (folder / "e.yaml").write_text("name: μ 😀\n", encoding="utf-8")
    refused = shell(folder, RUN, **LATIN)
    assert (refused.returncode, refused.stderr.count(b"\n")) == (2, 1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_under_stdout_is_one_line(tmp_path: Path) -> None:
    done = shell(tmp_path, f"{sys.executable} -m simulator.cli list models > /dev/full")
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
    assert b"No space left" in done.stderr
