"""A file on the drive that is measured: written past the page cache, gone when the process is."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

import numpy as np

from simulator.calibrate.pages import read_memory
from simulator.config.units import format_bytes
from simulator.errors import InputError

ALIGN = 4096
"""What offsets, lengths and buffers of O_DIRECT are multiples of: no drive in use needs more."""
PIECE = 8 << 20
IN_MEMORY = {"tmpfs", "ramfs"}


@contextmanager
def scratch_file(folder: Path, n_bytes: int) -> Iterator[int]:
    """Write ``n_bytes`` of noise to a file in ``folder`` and give its descriptor, opened with O_DIRECT.

    The file has no name while it is used, so that it goes with the process, whatever ends that.
    Noise, since drives and file systems compress, leave out zeros and keep equal blocks once; as float32
    its values are those of weights, 0 to 1/1024.
    Errors: InputError (no such folder, in memory, no O_DIRECT, too little space).
    """
    check_folder(folder, n_bytes)
    with NamedTemporaryFile(dir=folder, prefix="moesim-") as named:
        try:
            fd = os.open(named.name, os.O_RDWR | direct_flag(folder))
        except OSError as error:
            raise no_direct(folder, error.strerror) from None
        cached = os.dup(named.fileno())
    try:
        _fill(fd, n_bytes, folder)
        if _lands_in_cache(fd, cached):
            raise no_direct(folder, "it is accepted, and what is read is in the page cache all the same")
        yield fd
    finally:
        os.close(fd)
        os.close(cached)


def check_folder(folder: Path, n_bytes: int) -> None:
    """Refuse a folder whose reads would not measure a drive, or that ``n_bytes`` do not fit in."""
    if not folder.is_dir():
        raise InputError(f"--folder {folder}", "no such folder", "name one on the drive to be measured")
    kind = file_system(folder)
    if kind in IN_MEMORY:
        raise InputError(
            f"--folder {folder}", f"is in memory ({kind})", "name a folder on the drive to be measured"
        )
    free = shutil.disk_usage(folder).free
    if free < n_bytes + (64 << 20):
        raise InputError(
            f"--folder {folder}",
            f"{format_bytes(free)} free, {format_bytes(n_bytes)} and a reserve of 64 MiB needed",
            "name another folder, or ask for less (--quick, smaller experts)",
        )


def direct_flag(folder: Path) -> int:
    """Return the flag that opens a file past the page cache; InputError on systems without one."""
    flag: int | None = getattr(os, "O_DIRECT", None)
    if flag is None:
        raise no_direct(folder, "this system has no O_DIRECT")
    return flag


def no_direct(folder: Path, why: str | None) -> InputError:
    """Return the refusal of a file system that reads through the page cache only."""
    return InputError(
        f"--folder {folder}",
        f"cannot be read with O_DIRECT ({why}), so reads would measure memory",
        "name a folder on another file system",
    )


def file_system(folder: Path) -> str:
    """Return the kind of file system that holds ``folder``, as the kernel names it; "" if it does not say."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    device = folder.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    kinds = [line.split(" - ")[1].split()[0] for line in lines if line.split()[2] == wanted]
    return kinds[-1] if kinds else ""


def _lands_in_cache(fd: int, cached: int) -> bool:
    """Return whether a block that is read by ``fd`` is in the page cache then, and was not before.

    Such a file system takes O_DIRECT and ignores it. A kernel that cannot tell passes.
    """
    if not hasattr(os, "posix_fadvise"):
        return False
    os.posix_fadvise(cached, 0, 0, os.POSIX_FADV_DONTNEED)
    with mmap.mmap(cached, ALIGN) as pages, mmap.mmap(-1, ALIGN) as buffer:
        before = _resident(pages)
        os.preadv(fd, [buffer], 0)
        return not before and _resident(pages)


def _resident(pages: mmap.mmap) -> bool:
    """Return whether the first page of a mapping is in memory, without touching it: mincore(2)."""
    first, answer = ctypes.c_char.from_buffer(pages), ctypes.c_ubyte()
    failed = ctypes.CDLL(None).mincore(
        ctypes.c_void_p(ctypes.addressof(first)), ctypes.c_size_t(1), ctypes.byref(answer)
    )
    return not failed and bool(answer.value & 1)


def _fill(fd: int, n_bytes: int, folder: Path) -> None:
    """Write noise of which no piece is like another: storage that keeps equal blocks once would show."""
    rng = np.random.default_rng(0)
    memory = read_memory(PIECE)
    noise = np.frombuffer(memory, dtype=np.float32)
    try:
        for offset in range(0, n_bytes, PIECE):
            rng.random(out=noise, dtype=np.float32)
            noise /= 1024
            os.pwritev(fd, [memory[: min(PIECE, n_bytes - offset)]], offset)
        os.fsync(fd)
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise no_direct(folder, error.strerror) from None
        raise InputError(f"--folder {folder}", f"cannot be written: {error.strerror}") from None
