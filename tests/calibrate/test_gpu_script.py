"""``benchmarks/gpu.sh``: what it refuses, its time budget, and all of it on PyTorch's CPU."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pandas as pd
import pytest

from simulator.machine.hardware import load_hardware
from simulator.machine.software import load_software
from tests.places import ROOT

PARTS = ["calibrate", "reference-0.25", "reference-0.5", "reference-0.75"]


def script(*words: str, began: int = 0) -> subprocess.CompletedProcess[str]:
    """Run it, as if ``began`` seconds had gone by."""
    env = os.environ | {"PYTHON": sys.executable, "SECONDS": str(began)}
    line = ["bash", str(ROOT / "benchmarks" / "gpu.sh"), *words]
    return subprocess.run(line, env=env, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "FOLDER is missing"),
        (["--device", "cpu"], "FOLDER is missing"),
        (["out", "--device", "tpu"], "--device is cuda or cpu"),
        (["out", "--minutes", "13"], "--minutes is 1 to 12"),
        (["out", "--fast"], "--fast is not known"),
    ],
)
def test_what_it_does_not_know_is_refused(
    words: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = script(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"usage: benchmarks/gpu.sh FOLDER [--minutes N] [--device cpu]; {says}\n"
    assert list(tmp_path.iterdir()) == []


def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    done = script(str(tmp_path / "out"))
    assert done.returncode == 2
    assert "PyTorch sees no CUDA device" in done.stderr


def test_it_is_rehearsed_on_a_cpu_and_goes_on_where_time_ran_out(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    out = tmp_path / "out"
    late = script(str(out), "--device", "cpu", began=690)
    assert late.returncode == 1
    assert late.stderr == f"   not done: {' '.join(PARTS)}\n"
    assert late.stdout.count("LEFT OUT, needs") == 4
    assert "s of 12 minutes are left; run the same line again" in late.stdout

    whole = script(str(out), "--device", "cpu")
    assert (whole.returncode, whole.stderr) == (0, "")
    assert "all done in" in whole.stdout
    assert "a rehearsal: no number here is a GPU's" in whole.stdout
    assert load_hardware(str(out / "rehearsal.yaml")).main == "gpu"
    for name in ("pytorch-eager", "pytorch-hqq"):
        assert load_software(str(out / f"{name}.yaml")).name == name
    for part in PARTS[1:]:
        rows = pd.read_csv(out / part / "accuracy.csv")
        assert len(rows) == 2  # on demand and with prefetch
        assert rows[rows["run"].str.contains("demand")]["hits_identical"].all()
    with tarfile.open(out / "results.tar.gz") as packed:
        names = packed.getnames()
    assert {"./rehearsal.yaml", "./environment.txt", "./reference-0.5/validation-reference.md"} <= {*names}

    again = script(str(out), "--device", "cpu")
    assert again.returncode == 0
    assert again.stdout.count("done before") == 4

    (out / "device").write_text("h100-measured\n")
    other = script(str(out), "--device", "cpu")
    assert other.returncode == 2
    assert "holds h100-measured, this is rehearsal; take another folder" in other.stderr
