"""The file that is read to measure a drive: it has no name, lies on the drive, and leaves nothing."""

from __future__ import annotations

import errno
import os
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from simulator.calibrate import measure as measure_module
from simulator.calibrate import scratch
from simulator.calibrate.measure import measure
from simulator.calibrate.pages import read_memory
from simulator.calibrate.readers import read_whole
from simulator.cli import app
from simulator.errors import InputError
from tests.calibrate.made_up import MIB, TINY


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
