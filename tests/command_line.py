"""The command line, as a user calls it from a folder; and how it must refuse."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.places import ROOT

GOOD = """\
name: good
model: olmoe-1b-7b
hardware: rtx3060-12gb-pcie4
trace: olmoe-mini
workload: {max_sequences: 1}
memory:
  gpu_expert_cache: 2 GiB
"""


def moesim(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``moesim`` of this checkout in ``folder``."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from simulator.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def refused(folder: Path, *words: str) -> str:
    """Run, and check the manner of the refusal; return its line."""
    before = sorted(path.name for path in folder.rglob("*"))
    done = moesim(folder, *words)
    assert done.returncode == 2, (done.stdout, done.stderr)
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("moesim: ")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert sorted(path.name for path in folder.rglob("*")) == before, "something was written"
    return lines[0]


def experiment(folder: Path, text: str = GOOD) -> str:
    (folder / "e.yaml").write_text(text)
    return "./e.yaml"
