"""What eager PyTorch costs: measured on PyTorch's CPU; and software profiles from made-up numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from simulator.calibrate import unpack as unpack_module
from simulator.calibrate.device import Device, cuda_device, rehearsal_device
from simulator.calibrate.eager import Eager, measure_eager
from simulator.calibrate.eager_bench import LAYER_LAUNCHES, EagerBench, fused, layer
from simulator.calibrate.gpu_bench import swiglu
from simulator.calibrate.profile_software import base_of, software_profile
from simulator.calibrate.unpack import GROUP, to_float16
from simulator.calibrate.write import write_profile
from simulator.cli import app
from simulator.errors import InputError
from simulator.machine.hardware import load_hardware
from simulator.machine.software import load_software
from tests.calibrate.made_up import a_gpu, exactly


def an_eager() -> Eager:
    return Eager(
        tiny=exactly(5e-6),
        modules=exactly(7e-6),
        start=exactly(2e-6),
        node=exactly(1e-6),
        round_trip=exactly(27e-6),
        copy_call=exactly(6e-6),
        unpacking={2: exactly(13e-12), 3: exactly(20e-12), 4: exactly(9e-12)},
        fused=exactly(50e-6),
        apart=exactly(200e-6),
        chosen=8,
        expert=(2048, 1408),
    )


def test_a_profile_has_what_was_measured_and_the_rest_of_the_shipped_one(tmp_path: Path) -> None:
    base = load_software("pytorch-eager")
    made = software_profile(a_gpu(), an_eager(), base)
    assert made.issue is not None and made.books is not None and made.copies is not None
    assert made.gpu_kernels is not None and made.unpack is None
    measured = {
        7_000: made.issue.call,
        2_000: made.issue.start,
        20_000: made.books.round_trip,  # 27 us less 5 us of issue and 2 us of start
        6_000: made.copies.call,
    }
    assert {n: number.value for n, number in measured.items()} == {n: n for n in measured}
    assert all(number.measured for number in measured.values())
    assert made.gpu_kernels.experts.value == {"default": pytest.approx(0.5)}  # 1 of 2 TB/s
    assert made.gpu_kernels.dense.value == pytest.approx(25 / 84, rel=1e-4)  # 50 MB in 99 us less 15 us
    assert base.issue is not None and base.books is not None and base.copies is not None
    assert made.issue.kernels == base.issue.kernels
    assert made.issue.per_pass == base.issue.per_pass
    assert (made.books.lookup, made.copies.calls) == (base.books.lookup, base.copies.calls)
    assert made.cpu_experts == base.cpu_experts
    assert not made.books.lookup.measured
    assert "A node of a CUDA graph takes 1 us" in made.notes
    assert "50 us, quartiles 50 to 50, 3 repeats in three batched products" in made.notes
    assert "WARNING" not in made.notes
    write_profile(made, tmp_path / "pytorch-eager.yaml")
    assert load_software(str(tmp_path / "pytorch-eager.yaml")) == made


def test_unpacking_is_charged_as_long_as_it_took() -> None:
    made = software_profile(a_gpu(), an_eager(), load_software("pytorch-hqq"))
    assert made.unpack is not None
    assert made.unpack.bytes_per_weight.value == pytest.approx(13.0)  # 13 ps at 1 TB/s
    assert made.unpack.bytes_per_weight.measured
    assert not made.unpack.launches.measured


def test_only_software_of_pytorch_is_measured(tmp_path: Path) -> None:
    assert base_of(tmp_path / "pytorch-hqq.yaml").name == "pytorch-hqq"
    says = "--software: imp.yaml is no software that is measured; name it pytorch-eager.yaml or pytorch-hqq"
    with pytest.raises(InputError, match=says):
        base_of(tmp_path / "imp.yaml")


def test_software_without_a_gpu_is_refused(tmp_path: Path) -> None:
    line = [
        "calibrate",
        "-o",
        str(tmp_path / "mine.yaml"),
        "--software",
        str(tmp_path / "pytorch-eager.yaml"),
    ]
    done = CliRunner().invoke(app, line)
    assert str(done.exception) == "--software: goes with --gpu; give both or neither"
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def device() -> Device:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    return rehearsal_device()


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_weights_are_unpacked_by_their_definition(device: Device, bits: int) -> None:
    """The oracle packs: weight w of a group is in word w % rows, the first of a word in its highest bits."""
    torch, rng = device.torch, np.random.default_rng(bits)
    per, groups = {2: 4, 3: 10, 4: 2}[bits], 3
    rows = -(-GROUP // per)
    weights = rng.integers(0, 1 << bits, (GROUP, groups))
    words = [[0] * groups for _ in range(rows)]
    for w in range(GROUP):
        for g in range(groups):
            words[w % rows][g] += int(weights[w, g]) * 2 ** (bits * (per - 1 - w // rows))
    packed = torch.tensor(words, dtype=torch.uint8 if per * bits == 8 else torch.int32)
    zeros, scales = (rng.standard_normal((1, groups)).astype(np.float16) for _ in range(2))
    got = to_float16(torch, packed, bits, torch.from_numpy(zeros), torch.from_numpy(scales))
    assert (unpack_module.rows(bits), got.dtype) == (rows, torch.float16)
    expected = (weights - zeros.astype(float)) * scales.astype(float)
    assert np.allclose(got.numpy(), expected, rtol=2e-2, atol=2e-2)


def test_experts_in_batched_products_are_the_sum_of_each(device: Device) -> None:
    torch = device.torch
    generator = torch.Generator().manual_seed(0)
    experts = torch.randn(3, 3, 5, 4, generator=generator)
    x = torch.randn(4, 1, generator=generator)
    expected = sum(swiglu(torch, one, x) for one in experts)
    assert torch.allclose(fused(torch, experts, x), expected, rtol=1e-4, atol=1e-5)


def test_issue_is_timed_without_the_wait(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(device, "wait", lambda: said.append("wait"))
    assert EagerBench(device, 1).issue(lambda: said.append("launch"), 5).median > 0
    assert said == ["wait", "launch", "launch", "wait"] * 2  # ten launches may be queued


def test_a_queue_is_timed_by_marks_around_it(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    class Mark:
        def record(self) -> None:
            said.append("mark")

        def elapsed_time(self, later: Mark) -> float:
            return 50.0  # ms

    said: list[str] = []
    monkeypatch.setattr(device, "mark", Mark)
    monkeypatch.setattr(device, "wait", lambda: said.append("wait"))
    bench = EagerBench(device, 1)
    monkeypatch.setattr(bench, "tiny", lambda: lambda: said.append("launch"))
    assert bench.start().median == pytest.approx(5e-3)  # a tenth
    one = ["wait", "mark", *["launch"] * 10, "mark", "wait"]
    assert said == one * 2
    assert bench.node() is None
    monkeypatch.setattr(device, "graph", lambda work: lambda: said.append("replay"))
    said.clear()
    bench.node()
    assert said == ["wait", "mark", "replay", "mark", "wait"] * 2


def test_a_layer_has_as_many_kernels_as_were_counted(device: Device) -> None:
    """What is called from Python, but for what only describes tensors; a product of a module is in one."""
    torch = device.torch
    compute = layer(torch, device.device)
    compute()
    with torch.profiler.profile() as profiler:
        compute()
    called = [event.name.removeprefix("aten::") for event in profiler.events() if event.cpu_parent is None]
    assert sorted(called) == sorted(
        ["to", "pow", "mean", "add", "rsqrt", "mul", "to", "mul", *["linear"] * 3, "silu", "mul"]
    )
    assert len(called) == LAYER_LAUNCHES


def test_the_command_writes_both_kinds_of_profile(device: Device, tmp_path: Path) -> None:
    names = ["pytorch-eager.yaml", "pytorch-hqq.yaml"]
    line = ["calibrate", "--gpu", "--device", "cpu", "--no-drive", "-o", str(tmp_path / "mine.yaml")]
    line += [word for name in names for word in ("--software", str(tmp_path / name))]
    done = CliRunner().invoke(app, line, catch_exceptions=False)
    assert done.exit_code == 0
    assert "WARNING: a rehearsal" in load_hardware(str(tmp_path / "mine.yaml")).notes
    for name in names:
        made = load_software(str(tmp_path / name))
        assert made.issue is not None
        assert made.issue.call.measured
        assert "A node of a CUDA graph was not measured: the device has none." in made.notes
        assert "WARNING: a rehearsal" in made.notes


def test_a_gpu_has_a_graph() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    found = measure_eager(cuda_device(), repeats=2)
    assert found.node is not None
    assert found.node.median < found.start.median
