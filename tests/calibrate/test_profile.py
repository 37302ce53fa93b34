"""From measurements to a profile: its numbers, what it says of them, and that nothing is left behind."""

from __future__ import annotations

import errno
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from simulator.calibrate import measure as measure_module
from simulator.calibrate import system as system_module
from simulator.calibrate.drive import LaneTimes
from simulator.calibrate.marks import date_of, threads_of
from simulator.calibrate.measure import Plan, measure
from simulator.calibrate.profile import profile, warnings
from simulator.calibrate.sample import Sample
from simulator.calibrate.write import check_new, write_profile
from simulator.cli import app
from simulator.errors import InputError
from simulator.machine.hardware import load_hardware
from tests.calibrate.made_up import KIB, MIB, TINY, a_gpu, exactly, made_up


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
    assert unit.memory_bandwidth.value == 2 * 10**12  # copies within the GPU
    assert unit.bandwidth_efficiency.value == pytest.approx(0.5)  # experts reach 1 TB/s
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
