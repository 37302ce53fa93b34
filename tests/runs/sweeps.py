"""Sweeps as they run: started and killed from outside, and what they have written so far."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from simulator.results.summary import RunResult
from simulator.runs.backends import Failure
from tests.places import ROOT


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
