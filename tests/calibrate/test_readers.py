"""Reading experts: what was asked for, in order, whole, and into memory of the right kind."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from simulator.calibrate import readers as readers_module
from simulator.calibrate.pages import HUGE, read_memory
from simulator.calibrate.readers import Read, Readers, file_move, read_whole


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
