"""What README tells a reader to type works as it stands (tests/test_guides_to_add.py: docs/adding)."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str, language: str) -> list[str]:
    return [
        text for name, text in FENCE.findall((ROOT / page).read_text(encoding="utf-8")) if name == language
    ]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a folder that looks like a checkout, to run commands in."""
    for name in ("experiments", "traces"):
        (tmp_path / name).symlink_to(ROOT / name, target_is_directory=True)
    return tmp_path


def moesim(line: str, cwd: Path) -> str:
    program, *arguments = shlex.split(line)
    assert program == "moesim"
    if arguments[0] == "run":  # as it stands, but on one sequence: a suite is not a demo
        arguments += ["--set", "workload.max_sequences=1"]
    done = subprocess.run(
        [sys.executable, "-c", "from simulator.cli import main; main()", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_commands_run(checkout: Path) -> None:
    lines = [line for block in blocks("README.md", "sh") for line in block.splitlines()]
    assert lines
    for line in lines:
        assert moesim(line, checkout).strip()


def test_results_are_what_the_readme_says(checkout: Path) -> None:
    moesim(blocks("README.md", "sh")[0].splitlines()[0], checkout)
    tables = {"summary.csv", "tokens.parquet", "experts.parquet"}
    promised = tables | {"config.resolved.yaml", "manifest.json", "figures"}
    assert {path.name for path in (checkout / "out" / "first").iterdir()} == promised
    assert {path.suffix for path in (checkout / "out" / "first" / "figures").iterdir()} == {
        ".pdf",
        ".png",
        ".csv",
    }
