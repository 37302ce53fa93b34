"""Calibration: what it computes from measurements, what it refuses, and that nothing is left behind.

No test asserts a time: only how measurements become numbers, on made-up ones, and the structure of real ones.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections import namedtuple
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from simulator.calibrate import gpu as gpu_module
from simulator.calibrate import gpu_bench as bench_module
from simulator.calibrate import measure as measure_module
from simulator.calibrate import readers as readers_module
from simulator.calibrate import scratch
from simulator.calibrate import system as system_module
from simulator.calibrate.dense import DENSE_MATRICES, dense_layer, products
from simulator.calibrate.device import Device, cuda_device
from simulator.calibrate.dram import measure_dram
from simulator.calibrate.drive import LaneTimes
from simulator.calibrate.expert import ExpertTimes, roofline, swiglu
from simulator.calibrate.gpu import Gpu, measure_gpu
from simulator.calibrate.gpu_bench import Bench
from simulator.calibrate.marks import date_of, threads_of
from simulator.calibrate.measure import Measured, Plan, measure
from simulator.calibrate.pages import HUGE, read_memory
from simulator.calibrate.profile import profile, warnings
from simulator.calibrate.readers import Read, Readers, file_move, read_whole
from simulator.calibrate.sample import Sample, repeat, sample
from simulator.calibrate.system import System, this_system
from simulator.calibrate.write import check_new, write_profile
from simulator.cli import app
from simulator.errors import InputError
from simulator.machine.hardware import load_hardware

KIB, MIB = 1 << 10, 1 << 20
TINY = Plan(
    file_bytes=MIB,
    blocks=(4 * KIB, 64 * KIB),
    lanes=(1, 2),
    reads=2,
    dram_bytes=MIB,
    shapes=((32, 32), (64, 64)),
    gpu_shapes=((32, 32), (64, 64)),
    tokens=(1, 4),
    expert_bytes=MIB,
    repeats=2,
)


def exactly(value: float) -> Sample:
    return Sample(value, value, value, 3)


def made_up(gpu: Gpu | None = None) -> Measured:
    """Reads of 1 MiB in 1 ms by one, 1.6 ms by two; experts at 10 GB/s, 50 GFLOP/s, 30 us of launches."""
    plan = replace(TINY, blocks=(MIB,), lanes=(1, 2))
    drive = LaneTimes(exactly(1e-4), {(MIB, 1): exactly(1e-3), (MIB, 2): exactly(1.6e-3)})
    experts = {(size, 1): exactly(30e-6 + size / 1e10) for size in (MIB, 2 * MIB, 4 * MIB)}
    experts[4 * MIB, 16] = exactly(30e-6 + 2 * MIB * 16 / 50e9)  # 2 flops a weight of 4 bytes
    return Measured(
        plan=plan,
        system=System("a processor", 4, 16 << 30, 2 << 30, 0.1),
        threads=4,
        drive=drive,
        drive_bytes=10**12,
        dram={1: exactly(10e9), 2: exactly(18e9)},
        experts=ExpertTimes(experts, exactly(1e-3)),
        contention=(1.25, 1.1),
        gpu=gpu,
    )


def a_gpu() -> Gpu:
    """Copies of 10 us + bytes at 20 GB/s up and 10 GB/s down; experts at 15 us, 1 TB/s, 100 TFLOP/s."""

    def copies(rate: float) -> dict[tuple[bool, int], Sample]:
        small, large = 64 * KIB, 128 * MIB
        at = {small: small / (10e-6 + small / rate), large: rate}
        return {(pin, n): exactly(r if pin else r / 2) for n, r in at.items() for pin in (True, False)}

    sizes = (6 * MIB, 60 * MIB)
    experts = {("float16", size, 1): exactly(15e-6 + size / 1e12) for size in sizes}
    return Gpu(
        name="a GPU",
        version="torch 9, CUDA 9",
        memory_bytes=80 << 30,
        free_bytes=79 << 30,
        launch=exactly(4e-6),
        up=copies(20e9),
        down=copies(10e9),
        device_copy=exactly(2e12),
        experts=experts | {("float16", sizes[1], 2048): exactly(15e-6 + sizes[1] * 2048 / 1e14)},
        dequantise=exactly(3e11),
        dense=exactly(99e-6),
        dense_bytes=50_000_000,
        beside=1.02,
    )


@pytest.fixture
def drive_folder(tmp_path: Path) -> Path:
    try:
        with scratch.scratch_file(tmp_path, 4 * KIB):
            return tmp_path
    except InputError as error:
        pytest.skip(f"the folder of temporary files cannot be measured: {error}")


# -- samples -------------------------------------------------------------------------------------------


def test_sample_has_median_and_quartiles_and_says_when_they_are_far_apart() -> None:
    calm = sample([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (calm.low, calm.median, calm.high, calm.n) == (2, 3, 4, 5)
    assert calm.spread == pytest.approx(2 / 3)
    assert "NOT RELIABLE" in calm.text(1, "s")
    assert exactly(2e-6).text(1e-6, "us") == "2 us, quartiles 2 to 2, 3 repeats"


def test_the_first_measurement_is_thrown_away() -> None:
    values = iter([100.0, 1.0, 2.0, 3.0])
    assert repeat(lambda: next(values), 3).median == 2


# -- readers -------------------------------------------------------------------------------------------


@pytest.fixture
def numbered(tmp_path: Path):
    """Give a descriptor of 8 blocks of 16 bytes, each filled with its number."""
    path = tmp_path / "blocks"
    path.write_bytes(b"".join(bytes([i]) * 16 for i in range(8)))
    fd = os.open(path, os.O_RDONLY)
    yield fd
    os.close(fd)


def test_readers_read_what_was_asked_for(numbered: int) -> None:
    buffers = {i: memoryview(bytearray(16)) for i in (5, 2, 7)}
    with Readers(file_move(numbered), 2) as readers:
        with readers.lock:
            readers.demand.extend(Read(i, 16 * i, buffer) for i, buffer in buffers.items())
            readers.lock.notify_all()
        assert {readers.wait() for _ in buffers} == set(buffers)
        assert readers.poll() == []
    assert all(buffer == bytes([i]) * 16 for i, buffer in buffers.items())


def test_demand_goes_first_and_a_speculative_read_without_space_is_dropped(numbered: int) -> None:
    space = {6: memoryview(bytearray(16))}
    with Readers(file_move(numbered), 1, space.get) as readers:
        with readers.lock:
            readers.speculative.extend(Read(i, 16 * i, None) for i in (3, 6))
            readers.demand.append(Read(1, 16, memoryview(bytearray(16))))
            readers.lock.notify_all()
        assert [readers.wait(), readers.wait()] == [1, 6]
    assert space[6] == bytes([6]) * 16


def test_a_read_that_fails_is_raised_where_it_is_waited_for(numbered: int) -> None:
    with Readers(file_move(numbered), 1) as readers:
        with readers.lock:
            readers.demand.append(Read(0, 120, memoryview(bytearray(16))))
            readers.lock.notify_all()
        with pytest.raises(OSError, match="ends at byte 128"):
            readers.wait()


def test_closing_forgets_what_has_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    started, go = threading.Event(), threading.Event()

    def slow(*_: object) -> None:
        started.set()
        go.wait(10)

    monkeypatch.setattr(readers_module, "read_whole", slow)
    readers = Readers(file_move(0), 1)
    with readers.lock:
        readers.demand.extend(Read(i, 0, memoryview(bytearray(1))) for i in range(3))
        readers.lock.notify_all()
    assert started.wait(10)
    go.set()
    readers.__exit__(None, None, None)
    assert not any(thread.is_alive() for thread in readers.threads)


def test_short_reads_are_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    def preadv(_: int, buffers: list[memoryview], offset: int) -> int:
        buffers[0][:3] = bytes([offset]) * 3
        return min(3, len(buffers[0]))

    monkeypatch.setattr(os, "preadv", preadv)
    buffer = bytearray(6)
    read_whole(0, memoryview(buffer), 10)
    assert bytes(buffer) == bytes([10] * 3 + [13] * 3)


@pytest.mark.parametrize("huge", [True, False])
def test_memory_starts_at_a_huge_page_with_or_without_them(
    monkeypatch: pytest.MonkeyPatch, *, huge: bool
) -> None:
    if not huge:
        monkeypatch.delattr("mmap.MADV_HUGEPAGE", raising=False)
    memory = read_memory(HUGE + 5)
    assert len(memory) == HUGE + 5
    assert np.frombuffer(memory, dtype=np.uint8).ctypes.data % HUGE == 0
    assert not memory.readonly


# -- the file ------------------------------------------------------------------------------------------


def test_the_file_has_no_name_while_it_is_used(drive_folder: Path) -> None:
    with scratch.scratch_file(drive_folder, 3 * MIB) as fd:
        assert os.fstat(fd).st_size == 3 * MIB
        assert list(drive_folder.iterdir()) == []
        block = read_memory(4096)
        read_whole(fd, block, 4096)
        weights = np.frombuffer(block, dtype=np.float32)
        assert 0 <= weights.min() < weights.max() < 1 / 1000


def test_no_piece_of_the_file_is_like_another(drive_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "PIECE", 4096)
    with scratch.scratch_file(drive_folder, 8 * 4096) as fd:
        whole = read_memory(8 * 4096)
        read_whole(fd, whole, 0)
        assert len({bytes(whole[i * 4096 : (i + 1) * 4096]) for i in range(8)}) == 8


def test_a_folder_in_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "file_system", lambda _: "tmpfs")
    with pytest.raises(InputError, match=r"is in memory \(tmpfs\); name a folder on the drive"):
        scratch.check_folder(tmp_path, 1)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        scratch.check_folder(tmp_path / "none", 1)


def test_too_little_space_is_refused_with_the_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")  # noqa: PYI024 # what shutil returns
    monkeypatch.setattr(scratch.shutil, "disk_usage", lambda _: usage(0, 0, 100 * MIB))
    monkeypatch.setattr(scratch, "file_system", lambda _: "ext4")
    with pytest.raises(InputError, match=r"100.00 MiB free, 2.00 GiB and a reserve of 64 MiB needed"):
        scratch.check_folder(tmp_path, 2 << 30)
    scratch.check_folder(tmp_path, 36 * MIB)


@pytest.mark.parametrize("where", ["system", "open", "write", "cache"])
def test_without_o_direct_nothing_is_measured(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(scratch, "file_system", lambda _: "")
    if where == "system":
        monkeypatch.delattr(scratch.os, "O_DIRECT", raising=False)
    elif where == "open":
        monkeypatch.setattr(
            scratch, "direct_flag", lambda _: os.O_DIRECTORY
        )  # which no file can be opened with
    else:
        monkeypatch.setattr(scratch, "direct_flag", lambda _: 0)  # taken, and ignored
        if where == "write":
            monkeypatch.setattr(scratch.os, "pwritev", fails)
        elif not hasattr(os, "posix_fadvise"):
            pytest.skip("the page cache cannot be asked")
    refused = pytest.raises(InputError, match=r"cannot be read with O_DIRECT .* would measure memory")
    with refused, scratch.scratch_file(tmp_path, 4096):
        pytest.fail("nothing can be measured")
    assert list(tmp_path.iterdir()) == []


def test_a_system_that_cannot_ask_the_page_cache_believes_o_direct(
    drive_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "posix_fadvise", raising=False)
    with scratch.scratch_file(drive_folder, 4096) as fd:
        assert os.fstat(fd).st_size == 4096


def test_the_command_refuses_memory_and_writes_nothing(tmp_path: Path) -> None:
    memory = Path("/dev/shm")  # noqa: S108 # what is refused
    if not memory.is_dir() or scratch.file_system(memory) not in scratch.IN_MEMORY:
        pytest.skip("no folder in memory here")
    out = tmp_path / "mine.yaml"
    done = CliRunner().invoke(app, ["calibrate", "--quick", "-o", str(out), "--folder", str(memory)])
    assert isinstance(done.exception, InputError)
    assert "is in memory" in str(done.exception)
    assert "\n" not in str(done.exception)
    assert not out.exists()


def test_a_folder_is_refused_before_a_gpu_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure_module, "measure_gpu", lambda *_, **__: pytest.fail("measured"))
    with pytest.raises(InputError, match="no such folder"):
        measure(TINY, tmp_path / "none", device=object())


def test_a_drive_that_fills_up_is_said(drive_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(scratch.os, "pwritev", full)
    refused = pytest.raises(InputError, match="cannot be written: No space left")
    with refused, scratch.scratch_file(drive_folder, 4096):
        pytest.fail("nothing was written")


def test_the_kind_of_file_system_is_the_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if Path("/proc/self/mountinfo").exists():
        assert scratch.file_system(Path("/proc")) == "proc"
    monkeypatch.setattr(Path, "read_text", _no_file)
    assert scratch.file_system(tmp_path) == ""


def _no_file(*_: object, **__: object) -> str:
    raise FileNotFoundError


# -- numbers -------------------------------------------------------------------------------------------


def test_swiglu_is_its_definition() -> None:
    rng = np.random.default_rng(0)
    weights, x = rng.standard_normal((3, 5, 4)), rng.standard_normal((4, 2))
    expected = np.zeros((4, 2))
    for token in range(2):
        for f in range(5):
            g, u = weights[0, f] @ x[:, token], weights[1, f] @ x[:, token]
            expected[:, token] += g / (1 + np.exp(-g)) * u * weights[2, f]
    got = swiglu(weights.astype(np.float32), x.astype(np.float32))
    assert np.allclose(got, expected, rtol=1e-4, atol=1e-5)
    assert got.dtype == np.float32
    assert np.allclose(
        swiglu(weights.astype(np.float16), x.astype(np.float32)), expected, rtol=0.05, atol=0.05
    )


def test_the_roofline_is_found_again() -> None:
    rate, flops, fixed = roofline(made_up().experts.float32, 4)
    assert rate == pytest.approx(1e10)
    assert fixed == pytest.approx(30e-6)
    assert flops == pytest.approx(50e9)


def test_a_line_that_starts_below_0_has_no_launches() -> None:
    rate, _, fixed = roofline({(MIB, 1): exactly(1e-4), (2 * MIB, 1): exactly(3e-4)}, 4)
    assert fixed == 0
    assert rate == pytest.approx(np.mean([MIB / 1e-4, 2 * MIB / 3e-4]), rel=0.1)


@pytest.mark.parametrize("larger", [50e-6, 49e-6, 50.1e-6])
def test_an_expert_that_is_all_launches_is_read_no_faster_than_memory_copies(larger: float) -> None:
    times = {(MIB, 1): exactly(50e-6), (2 * MIB, 1): exactly(larger)}
    rate, _, fixed = roofline(times, 2, fastest=4e12)
    assert rate == pytest.approx(4e12)
    assert fixed == pytest.approx(50e-6, rel=0.03)


def test_dram_is_measured_for_each_number_of_threads() -> None:
    found = measure_dram([1, 2], 64 * KIB, repeats=2)
    assert list(found) == [1, 2]
    assert all(s.median > 0 and s.n == 2 for s in found.values())


def test_powers_of_two_and_all_cores() -> None:
    assert [measure_module._powers(n) for n in (1, 2, 6, 8)] == [[1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8]]


def test_copies_take_a_quarter_of_the_free_memory_at_most() -> None:
    system = System("", 64, 2 << 30, 1 << 30, 0)
    assert measure_module._copied(Plan(), system) == (1 << 30) // 512


def test_the_system_says_what_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    here = this_system()
    assert here.cores >= 1
    assert 0 <= here.used_bytes < here.memory_bytes
    monkeypatch.setattr(system_module.Path, "read_text", _no_file)
    monkeypatch.delattr(system_module.os, "sched_getaffinity", raising=False)
    there = this_system()
    assert there.virtual is None
    assert there.used_bytes == 0
    assert there.processor


@pytest.mark.parametrize(
    ("flags", "kind"),
    [
        ("flags: fpu hypervisor sse", "a virtual machine"),
        ("flags: fpu sse", "no virtual machine, as far as the processor says"),
        ("Features: fp asimd", "virtual or not: not known"),
    ],
)
def test_the_processor_says_whether_it_is_virtual(
    monkeypatch: pytest.MonkeyPatch, flags: str, kind: str
) -> None:
    monkeypatch.setattr(system_module.Path, "read_text", lambda *_, **__: flags)
    monkeypatch.setattr(os, "sysconf", lambda _: 1)
    assert this_system().kind == kind


def test_dense_work_is_one_product_after_another_scaled_at_the_end() -> None:
    matrices = np.random.default_rng(0).standard_normal((DENSE_MATRICES, 3, 3))
    x = np.array([[1.0], [2.0], [-1.0]])
    a, b, c, d = matrices
    expected = d @ (c @ (b @ (a @ x)))
    assert np.allclose(products(matrices, x), expected)
    assert np.allclose(dense_layer(matrices, x), expected / np.abs(expected).max())


# -- the profile ---------------------------------------------------------------------------------------


def test_the_profile_has_the_measured_numbers_and_reads_again(tmp_path: Path) -> None:
    made = profile(made_up(), "mine")
    write_profile(made, tmp_path / "mine.yaml")
    read = load_hardware(str(tmp_path / "mine.yaml"))
    assert read == made
    assert read.main == "cpu"
    unit, link = read.main_unit, read.links["ssd_to_cpu"]
    assert unit.effective_bytes_per_s == pytest.approx(1e10, rel=1e-6)
    assert unit.launch.value == 10_000
    assert link.lanes is not None
    assert link.table is not None
    assert link.lanes.value == 2  # two threads reach 1.31 GB/s, one 1.05
    assert [(r.lanes, r.bandwidth) for r in link.table.value] == [(1, 1048576000), (2, 1310720000)]
    assert link.latency.value == 0
    assert read.tiers.cpu is not None
    assert read.tiers.cpu.bandwidth.value == 18e9
    assert "WARNING" not in read.notes
    assert "1.25 times" in read.notes


def test_one_thread_is_enough_where_more_bring_nothing() -> None:
    m = made_up()
    drive = LaneTimes(exactly(1e-4), {(MIB, 1): exactly(1e-3), (MIB, 2): exactly(1.95e-3)})
    link = profile(replace(m, drive=drive), "mine").links["ssd_to_cpu"]
    assert link.lanes is not None
    assert link.lanes.value == 1


def test_with_a_gpu_the_profile_has_three_tiers(tmp_path: Path) -> None:
    made = profile(made_up(a_gpu()), "mine")
    write_profile(made, tmp_path / "mine.yaml")
    assert load_hardware(str(tmp_path / "mine.yaml")) == made
    assert made.tiers.names == ("gpu", "cpu", "ssd")
    unit = made.main_unit
    assert unit.flops.value == pytest.approx(1e14)
    assert unit.effective_bytes_per_s == pytest.approx(1e12)
    assert unit.launch.value == 5000  # a third of what is left at 0 bytes
    assert unit.dequantise_bandwidth is not None
    assert unit.dequantise_bandwidth.value == 3 * 10**11
    assert "take 99 us" in made.notes
    assert "charged 70 us" in made.notes  # 50 MB at 1 TB/s, four launches of 5 us
    up, down = made.links["cpu_to_gpu"], made.links["gpu_to_cpu"]
    assert (up.bandwidth.value, down.bandwidth.value) == (20 * 10**9, 10 * 10**9)
    assert up.latency.value == pytest.approx(10_000, abs=1)
    assert up.reads_dram
    assert "pageable" in up.bandwidth.source
    assert "1.02 times as long beside experts" in made.notes


def test_a_busy_machine_and_unsteady_numbers_are_said() -> None:
    m = made_up()
    unsteady = LaneTimes(m.drive.alone, {**m.drive.busy, (MIB, 2): Sample(1.6e-3, 1e-3, 3e-3, 3)})
    busy = replace(m, system=replace(m.system, load=2.0), drive=unsteady)
    load, wide = warnings(busy)
    assert "busy (load average 2.0 a core)" in load
    assert wide.endswith("apart: reads of 1.00 MiB by 2 125%")
    made = profile(busy, "mine")
    assert made.notes.count("WARNING") == 2
    assert "NOT RELIABLE" in made.links["ssd_to_cpu"].bandwidth.source


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    taken = tmp_path / "mine.yaml"
    taken.write_text("mine")
    with pytest.raises(InputError, match="is there already"):
        check_new(taken)
    with pytest.raises(InputError, match="is there already"):
        write_profile(profile(made_up(), "mine"), taken)
    assert taken.read_text() == "mine"
    check_new(taken, force=True)
    write_profile(profile(made_up(), "mine"), taken, force=True)
    assert load_hardware(str(taken)).name == "mine"
    with pytest.raises(InputError, match=r"is no \.yaml"):
        check_new(tmp_path / "mine.txt")
    with pytest.raises(InputError, match="no such folder"):
        check_new(tmp_path / "none" / "mine.yaml")


def test_the_command_measures_and_leaves_only_the_profile(
    drive_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure_module, "QUICK", TINY)
    monkeypatch.setattr("simulator.calibrate.contention.BUDGET", MIB)
    monkeypatch.setattr(system_module, "BUSY", 0.0)
    monkeypatch.setattr("simulator.calibrate.profile.BUSY", -1.0)  # so that there is a warning to print
    out = drive_folder / "mine.yaml"
    args = ["calibrate", "-o", str(out), "--folder", str(drive_folder), "--quick", "--threads", "1"]
    done = CliRunner().invoke(app, args, catch_exceptions=False)
    assert done.exit_code == 0
    assert "warning: the machine was busy" in done.stderr
    assert list(drive_folder.iterdir()) == [out]
    made = load_hardware(str(out))
    assert made.links["ssd_to_cpu"].table is not None
    assert len(made.links["ssd_to_cpu"].table.value) == 4
    again = CliRunner().invoke(app, args)
    assert isinstance(again.exception, InputError)


def test_an_interrupted_calibration_leaves_nothing(
    drive_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(measure_module, "measure_contention", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure(TINY, drive_folder)
    assert list(drive_folder.iterdir()) == []


def test_what_is_charged_from_memory_is_never_slower_than_what_was_measured_to_stream_from_it() -> None:
    slow = replace(made_up(), dram={1: exactly(6e9), 2: exactly(7e9)})  # experts stream 10 GB/s
    memory = profile(slow, "mine").tiers.cpu
    assert memory is not None
    assert memory.bandwidth.value == pytest.approx(10e9, rel=1e-6)
    assert "experts on the CPU stream at 10 GB/s, so at least that" in memory.bandwidth.source


def test_blocks_of_the_full_plan_double_from_64_kib_on() -> None:
    blocks = [block for block in Plan().blocks if block >= 64 * KIB]
    assert blocks[0] == 64 * KIB
    assert blocks[-1] == 16 * MIB
    assert all(b == 2 * a for a, b in pairwise(blocks))


def test_the_number_of_threads_is_judged_over_all_blocks_of_an_experts_size() -> None:
    """Two threads are worth it in the middle; the largest block alone, and a tiny one, say otherwise."""
    seconds = {(4 * KIB, 1): 1e-4, (4 * KIB, 2): 9e-4, (64 * KIB, 1): 1e-4, (64 * KIB, 2): 1.2e-4}
    seconds |= {(MIB, 1): 1e-3, (MIB, 2): 1.2e-3, (16 * MIB, 1): 9e-3, (16 * MIB, 2): 18.1e-3}
    drive = LaneTimes(exactly(1e-4), {key: exactly(value) for key, value in seconds.items()})
    link = profile(replace(made_up(), drive=drive), "mine").links["ssd_to_cpu"]
    assert link.lanes is not None
    assert link.lanes.value == 2
    assert "blocks of 64.00 KiB and more" in link.lanes.source
    assert link.bandwidth.value == round(2 * 16 * MIB / 18.1e-3)


def test_doubt_reaches_every_number_that_is_made_of_doubtful_ones() -> None:
    m = made_up()
    wide = Sample(1.6e-3, 1e-3, 3e-3, 3)
    drive = LaneTimes(m.drive.alone, {**m.drive.busy, (MIB, 2): wide})
    experts = m.experts.float32 | {(MIB, 1): Sample(135e-6, 100e-6, 180e-6, 3)}
    doubtful = profile(replace(m, drive=drive, experts=replace(m.experts, float32=experts)), "mine")
    sure, unit = profile(m, "mine"), doubtful.main_unit
    for number in (unit.launch, unit.memory_bandwidth):
        assert number.source.count("NOT RELIABLE: 1.00 MiB") == 1
        assert "3 repeats, quartiles at most 59% apart (1.00 MiB)" in number.source
    table = doubtful.links["ssd_to_cpu"].table
    assert table is not None
    assert table.source.endswith(
        "3 repeats, quartiles at most 125% apart (1.00 MiB by 2); NOT RELIABLE: 1.00 MiB by 2"
    )
    assert "NOT RELIABLE" not in sure.model_dump_json()
    assert "3 repeats, quartiles at most 0% apart" in sure.main_unit.launch.source


def test_notes_are_a_line_each_and_name_what_was_not_measured(tmp_path: Path) -> None:
    write_profile(
        profile(replace(made_up(), system=replace(made_up().system, load=2.0)), "mine"), tmp_path / "m.yaml"
    )
    notes = load_hardware(str(tmp_path / "m.yaml")).notes.splitlines()
    assert [line.split(":")[0] for line in notes[-3:]] == ["Not measured", "Not measured", "WARNING"]
    assert "dense products on the CPU" in notes[-2]


def test_a_profile_says_when_and_with_how_many_threads_it_was_measured(tmp_path: Path) -> None:
    write_profile(profile(made_up(), "mine"), tmp_path / "mine.yaml")
    read = load_hardware(str(tmp_path / "mine.yaml"))
    assert threads_of(read) == 4
    assert date_of(read) == f"{datetime.now(UTC):%Y-%m-%d}"
    catalogued = load_hardware("oneplus-15r")
    assert threads_of(catalogued) is None
    assert date_of(catalogued) is None


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(**_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("simulator.calibrate.write.TemporaryFile", refused)
    monkeypatch.setattr(measure_module, "measure", lambda *_, **__: pytest.fail("measured"))
    done = CliRunner().invoke(app, ["calibrate", "-o", str(tmp_path / "mine.yaml")])
    assert isinstance(done.exception, InputError)
    assert str(done.exception) == f"{tmp_path}: cannot be written: Permission denied"


def test_a_full_disk_leaves_no_part_of_a_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(InputError, match="cannot be written: No space left"):
        write_profile(profile(made_up(), "mine"), tmp_path / "mine.yaml")
    assert list(tmp_path.iterdir()) == []


def test_the_command_of_the_guide_runs_on_a_profile_without_a_gpu(tmp_path: Path) -> None:
    guide = Path("docs/guides/calibration.md").read_text(encoding="utf-8")
    (line,) = [line for line in guide.replace("\\\n", " ").splitlines() if line.startswith("moesim run")]
    write_profile(profile(made_up(), "my-machine"), tmp_path / "my-machine.yaml")
    args = line.replace("./my-machine.yaml", str(tmp_path / "my-machine.yaml"))
    args = args.replace("out/mine", str(tmp_path / "out")).split()[1:]
    done = CliRunner().invoke(
        app, [*args, "--set", "workload.max_sequences=1", "--set", "figures=[]"], catch_exceptions=False
    )
    assert done.exit_code == 0
    assert (tmp_path / "out" / "summary.csv").exists()


# -- the GPU -------------------------------------------------------------------------------------------


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
def torch_device(monkeypatch: pytest.MonkeyPatch) -> Device:
    """Give PyTorch's CPU: the lines are those of a GPU, but for streams, pinning and waiting."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    monkeypatch.setattr(measure_module, "MANY", 8)
    monkeypatch.setattr(bench_module, "BEYOND_CACHES", MIB)
    monkeypatch.setattr(bench_module, "LAUNCHES", 10)
    monkeypatch.setattr(bench_module, "IN_A_ROW", MIB)
    monkeypatch.setattr(gpu_module, "COPIES", (4 * KIB, 64 * KIB))
    monkeypatch.setattr(gpu_module, "NEEDED", MIB)
    monkeypatch.setattr(bench_module, "WARM_S", 0.0)
    return Device(torch, "cpu")


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
    monkeypatch.setattr(bench_module, "BEYOND_CACHES", 32 * KIB)
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
