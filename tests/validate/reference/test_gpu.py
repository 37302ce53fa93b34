"""The reference run from host memory to a GPU: on PyTorch's CPU, and on a GPU where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from simulator.calibrate import measure as measure_module
from simulator.calibrate.device import Device, cuda_device
from simulator.calibrate.readers import Read, Readers
from simulator.errors import InputError
from simulator.machine.hardware import load_hardware
from simulator.validate.reference import gpu as gpu_machine
from simulator.validate.reference import intro, report, write
from simulator.validate.reference import setup as reference_setup
from simulator.validate.reference.gpu import GpuMachine
from simulator.validate.reference.machine import Shape
from simulator.validate.reference.run import ReferenceRun, Settings
from simulator.validate.reference.setup import Setup, gpu_shape
from simulator.validate.reference.simulate import decoded, simulate
from simulator.validate.reference.write import validate_reference
from tests.validate.reference.made_up import NONE, E, L, a_trace, made_up, words

HALF = Shape(32, 32, 2)  # 6 KiB


@pytest.fixture
def torch_device(monkeypatch: pytest.MonkeyPatch) -> Device:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    tiny = replace(measure_module.QUICK, dram_bytes=1 << 20, expert_bytes=1 << 20, repeats=1)
    monkeypatch.setattr(reference_setup, "QUICK", tiny)
    monkeypatch.setattr("simulator.validate.reference.probe.BEYOND_CACHES", 1 << 20)
    return Device(torch, "cpu")


@pytest.mark.parametrize("pool", [1 << 30, 10 * HALF.expert_bytes])
def test_copies_move_the_bytes_of_the_right_expert(
    torch_device: Device, monkeypatch: pytest.MonkeyPatch, pool: int
) -> None:
    """Every expert in the cache at the end has the bytes of its place in host memory, shared or not."""
    monkeypatch.setattr(gpu_machine, "POOL_BYTES", pool)
    machine = GpuMachine(torch_device, HALF, L, L * E, 2)
    assert machine.places == min(L * E, pool // HALF.expert_bytes)
    machine.host[:] = torch_device.torch.randint(0, 60, machine.host.shape)  # finite as float16
    memory = machine.memory(10)
    trace = decoded(a_trace(), HALF, 20)
    run = ReferenceRun(trace, machine, Settings(10, 2, prefetch=True), memory)
    run.run()
    landed = set(run.cache.slot) - run.cache.flying
    assert len(landed) >= 8
    stored = machine.host.view(machine.places, -1)
    for key in landed:
        assert torch_device.torch.equal(memory.slots[run.cache.slot[key]], stored[key % machine.places])
    slot = run.cache.slot[min(landed)]
    assert memory.weights[slot].view(-1).view(torch_device.torch.uint8).equal(memory.slots[slot])


def test_hits_on_a_gpu_are_those_of_the_simulator(torch_device: Device) -> None:
    trace = decoded(a_trace(200), HALF, 1000)
    settings = Settings(12, 2, prefetch=False)
    machine = GpuMachine(torch_device, HALF, L, L * E, 2)
    logs = ReferenceRun(trace, machine, settings, machine.memory(12)).run()
    records = simulate(trace, HALF, settings, load_hardware("rtx4090-pcie4"), NONE)
    assert [log.hits for log in logs] == [record.hits for record in records]
    assert all(log.expert_ns > 0 and log.dense_ns > 0 for log in logs)


def test_lanes_use_streams_of_their_own_and_wait_for_them(
    torch_device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a CPU can show of CUDA: each copy is given to its lane's stream, and that one is waited for."""
    said: list[str] = []

    class Stream:
        def __init__(self, name: str) -> None:
            self.name = name

        def synchronize(self) -> None:
            said.append(f"wait {self.name}")

    @contextmanager
    def on(stream: Stream) -> Iterator[None]:
        said.append(f"on {stream.name}")
        yield

    monkeypatch.setattr(torch_device, "streams", lambda n: [Stream(str(i)) for i in range(n)])
    monkeypatch.setattr(torch_device, "on", on)
    monkeypatch.setattr(torch_device, "wait_compute", lambda: said.append("wait compute"))
    machine = GpuMachine(torch_device, HALF, L, L * E, 2)
    memory = machine.memory(2)
    machine.move(1, Read(0, 0, memory.slots[0]))
    machine.expert(memory.weights[0])
    machine.dense(0)
    machine.move(0, Read(0, 0, memory.slots[1][:64]))
    assert said == ["on 1", "wait 1", "wait compute", "wait compute", "on 0", "wait 0"]


def test_dense_work_stays_finite(torch_device: Device) -> None:
    machine = GpuMachine(torch_device, HALF, L, L * E, 1)
    for _ in range(100):
        machine.dense(1)
    assert torch_device.torch.isfinite(machine.x).all()
    assert machine.x.abs().max() == 1


def test_the_gpu_variant_runs_calibrates_simulates_and_compares(torch_device: Device, tmp_path: Path) -> None:
    setup = Setup(tmp_path / "none", a_trace(), sizes=(0.2, 0.5), tokens=12, shape=HALF, gpu=torch_device)
    page = validate_reference(tmp_path / "out", setup)
    assert "## Reference run: host memory and a GPU" in page
    assert "copies fp16 experts of 6.00 KiB from pinned memory by 2 threads" in words(page)
    assert "PyTorch's CPU (no GPU)" in words(page)
    assert "4 runs within 10% median and 5% total" in page
    rows = pd.read_csv(tmp_path / "out" / "accuracy.csv").set_index("run")
    assert rows.loc[["cache 20%, on demand", "cache 50%, on demand"], "hits_identical"].all()
    made = load_hardware(str(tmp_path / "out" / "cache-20-on-demand.yaml"))
    assert made.main == "gpu"
    assert made.tiers.names == ("gpu", "cpu")
    table = made.links["cpu_to_gpu"].table
    assert table is not None
    assert {(row.block, row.lanes) for row in table.value} == {(HALF.expert_bytes, 1), (HALF.expert_bytes, 2)}
    again = replace(setup, profile=made, lanes=1, sizes=(0.5,))
    assert "the profile cache-20-on-demand" in words(validate_reference(tmp_path / "given", again))


def test_the_page_says_that_experts_share_host_memory(
    torch_device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intro, "POOL_BYTES", 10 * HALF.expert_bytes)
    title, found = "cache 50%, on demand", made_up((112, 224))
    setup = Setup(Path(), a_trace(), shape=HALF, gpu=torch_device)
    page = report.page([write._row(title, found)], {title: found}, setup, a_trace())
    assert "pinned memory (36 share 10 places)" in words(page)
    assert "| median above 10%; total off by more than 5% |" in page


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"profile": load_hardware("oneplus-15r")}, "does not compute on a GPU"),
        ({"shape": Shape(1 << 16, 1 << 16, 2)}, "--trace: .* of memory are not free"),
        ({}, "--sizes: 162.00 KiB and 1.00 MiB besides are not free on the GPU"),
    ],
)
def test_what_cannot_be_run_on_a_gpu_is_refused(
    torch_device: Device,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, object],
    says: str,
) -> None:
    monkeypatch.setattr(torch_device, "memory", lambda: (1 << 20, 1 << 30))
    setup = Setup(Path(), a_trace(), shape=HALF, gpu=torch_device)
    with pytest.raises(InputError, match=says):
        validate_reference(tmp_path / "out", replace(setup, **change))
    assert not (tmp_path / "out").exists()


def test_an_error_of_the_device_is_raised_and_not_waited_for(torch_device: Device) -> None:
    machine = GpuMachine(torch_device, HALF, L, L * E, 1)
    memory = machine.memory(4)
    with Readers(machine.move, 1) as readers:
        with readers.lock:
            readers.demand.append(Read(0, machine.host.numel() - 8, memory.slots[0]))  # beyond the end
            readers.lock.notify()
        with pytest.raises(RuntimeError):
            readers.wait()


def test_a_gpu_runs_the_reference(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    device = cuda_device()
    setup = Setup(tmp_path, a_trace(), sizes=(0.5,), shape=gpu_shape(device), gpu=device)
    page = validate_reference(tmp_path / "out", setup)
    rows = pd.read_csv(tmp_path / "out" / "accuracy.csv").set_index("run")
    assert rows.loc["cache 50%, on demand", "hits_identical"]
    assert "host memory and a GPU" in page
