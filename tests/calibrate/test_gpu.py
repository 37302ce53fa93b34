"""Calibration of a GPU: on made-up numbers, on PyTorch's CPU, and on a GPU where there is one."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from simulator.calibrate import gpu_bench as bench_module
from simulator.calibrate.device import Device, cuda_device, rehearsal_device
from simulator.calibrate.drive import LaneTimes
from simulator.calibrate.expert import swiglu
from simulator.calibrate.gpu import measure_gpu
from simulator.calibrate.gpu_bench import Bench
from simulator.calibrate.measure import measure
from simulator.calibrate.profile import profile, warnings
from simulator.calibrate.sample import Sample
from simulator.cli import app
from simulator.errors import InputError
from tests.calibrate.made_up import KIB, MIB, TINY, a_gpu, exactly, made_up


def test_without_torch_or_cuda_the_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match="PyTorch is not installed"):
        cuda_device()
    fake = type("torch", (), {"cuda": type("cuda", (), {"is_available": staticmethod(lambda: False)})})
    monkeypatch.setitem(sys.modules, "torch", fake)
    with pytest.raises(InputError, match="no CUDA device"):
        cuda_device()


@pytest.mark.parametrize("command", [["calibrate"], ["validate", "reference"]])
def test_the_commands_refuse_a_gpu_that_is_not_there(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    done = CliRunner().invoke(app, [*command, "-o", str(tmp_path / "out.yaml"), "--gpu"])
    assert str(done.exception) == "--gpu: PyTorch is not installed; pip install moesim[record]"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["calibrate", "--device", "cpu"], "--device: goes with --gpu; give both or neither"),
        (["validate", "reference", "--device", "cpu"], "--device: goes with --gpu; give both or neither"),
        (["calibrate", "--folder", ".", "--no-drive"], "--folder: goes without --no-drive; give one of them"),
    ],
)
def test_options_without_effect_are_refused(command: list[str], says: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, [*command, "-o", str(tmp_path / "out.yaml")])
    assert str(done.exception) == says
    assert list(tmp_path.iterdir()) == []


def test_a_rehearsal_says_that_it_is_none_of_a_gpu() -> None:
    assert "rehearsal" not in profile(made_up(a_gpu()), "mine").notes
    assert "WARNING: a rehearsal" in profile(made_up(replace(a_gpu(), real=False)), "mine").notes


def test_unsteady_numbers_of_a_gpu_are_said_too() -> None:
    unsteady = Sample(1.0, 0.5, 1.5, 3)
    gpu = a_gpu()
    gpu = replace(gpu, launch=unsteady, up=gpu.up | {(False, 64 * KIB): unsteady})
    (line,) = warnings(made_up(gpu))
    assert "launches 100%" in line
    assert "pageable copies of 64.00 KiB to the GPU 100%" in line


def test_copies_by_threads_become_a_table_and_memory_is_as_fast_as_they_were() -> None:
    lanes = LaneTimes(exactly(2e-5), {(MIB, 1): exactly(5e-5), (MIB, 2): exactly(8e-5)})
    m = replace(made_up(replace(a_gpu(), lanes=lanes)), drive=None, contention=None)
    made = profile(m, "mine")
    up = made.links["cpu_to_gpu"]
    assert up.table is not None
    assert [(r.lanes, r.bandwidth) for r in up.table.value] == [
        (1, round(MIB / 5e-5)),
        (2, round(MIB / 4e-5)),
    ]
    assert up.reads_dram
    assert made.tiers.names == ("gpu", "cpu")
    assert "Beside reads" not in made.notes
    assert made.tiers.cpu is not None
    assert made.tiers.cpu.bandwidth.value == round(MIB / 4e-5)  # 26.2 GB/s; numpy copied at 18
    assert "at least that" in made.tiers.cpu.bandwidth.source


@pytest.fixture
def torch_device() -> Device:
    """Give PyTorch's CPU: the lines are those of a GPU, but for streams, pinning and waiting."""
    pytest.importorskip("torch", reason="PyTorch is not installed")
    return rehearsal_device()


def test_each_measurement_waits_before_and_after(
    torch_device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[str] = []
    monkeypatch.setattr(torch_device, "wait", lambda: waits.append("all"))
    monkeypatch.setattr(torch_device, "wait_compute", lambda: waits.append("own"))
    bench = Bench(torch_device, 1)
    assert bench.launch().median > 0
    assert bench.copy(64 * KIB, up=True, pinned=False).median > 0
    assert bench.copy(64 * KIB, up=False, pinned=False).median > 0
    assert bench.device_copy(64 * KIB).median > 0
    assert waits == ["all"] * 2 * 2 * 4  # the one that is thrown away too
    waits.clear()
    assert set(bench.experts([(512, 512)], [1, 4], torch_device.torch.float16)) == {
        (3 * MIB // 2, 1),
        (3 * MIB // 2, 4),
    }
    assert waits == ["all", "own", "own"] * 2 * 2  # two experts a walk


def test_int4_is_dequantised_by_its_definition(torch_device: Device) -> None:
    torch, rng = torch_device.torch, np.random.default_rng(0)
    packed = rng.integers(0, 256, (3, bench_module.GROUP // 2), dtype=np.uint8)
    scales = rng.standard_normal((3, 1)).astype(np.float16)
    expected = [
        [(nibble - 8) * float(scale) for byte in row for nibble in (int(byte) % 16, int(byte) // 16)]
        for row, (scale,) in zip(packed, scales, strict=True)
    ]
    got = bench_module.dequantise(torch, torch.from_numpy(packed), torch.from_numpy(scales))
    assert np.allclose(got.numpy(), expected, rtol=2e-3)
    assert Bench(torch_device, 1).dequantise(64 * KIB).median > 0
    assert Bench(torch_device, 1).dense(64).median > 0


def test_a_copy_beside_experts_is_compared_with_one_alone(torch_device: Device) -> None:
    assert Bench(torch_device, 3).beside(64 * KIB, (32, 32)) > 0


@pytest.mark.parametrize("drive", [True, False])
def test_a_whole_device_is_measured(
    torch_device: Device, drive_folder: Path, monkeypatch: pytest.MonkeyPatch, *, drive: bool
) -> None:
    monkeypatch.setattr("simulator.calibrate.contention.BUDGET", MIB)
    said: list[str] = []
    plan = replace(TINY, tokens=(1,), repeats=1)
    found = measure(plan, drive_folder if drive else None, device=torch_device, say=said.append)
    both = ["drive", "drive and CPU beside each other"]
    assert said == ["GPU", *(both if drive else []), "DRAM", "experts on the CPU"]
    made = profile(found, "mine")
    assert made.main == "gpu"
    assert made.tiers.names == ("gpu", "cpu", "ssd")[: 3 if drive else 2]


def test_a_gpu_that_is_full_is_refused(torch_device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_device, "memory", lambda: (1000, 10**9))
    with pytest.raises(InputError, match=r"1000 B of GPU memory are free, 1\.00 MiB needed"):
        measure_gpu(torch_device, [(32, 32)], [1], repeats=1)


def test_the_device_and_the_cpu_compute_the_same_expert(torch_device: Device) -> None:
    rng = np.random.default_rng(0)
    weights, x = (
        rng.standard_normal((3, 5, 4), dtype=np.float32),
        rng.standard_normal((4, 2), dtype=np.float32),
    )
    torch = torch_device.torch
    got = bench_module.swiglu(torch, torch.from_numpy(weights), torch.from_numpy(x)).numpy()
    assert np.allclose(got, swiglu(weights, x), rtol=1e-5, atol=1e-6)


def test_a_gpu_is_measured() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    found = measure_gpu(cuda_device(), [(64, 64), (4096, 4096)], [1, 4], repeats=2)
    made = profile(made_up(found), "mine")
    assert made.main == "gpu"
    assert all(s.median > 0 for s in [*found.up.values(), *found.down.values(), *found.experts.values()])
