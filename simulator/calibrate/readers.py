"""Threads that move: a link's lanes, as an offloading engine has them; demand goes before speculation."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Read:
    """One read: its key, from which byte, and into what; None is asked for when the read starts.

    ``buffer`` is what the machine moves into: a memoryview, or a tensor of bytes.
    """

    key: int
    offset: int
    buffer: Any


Begin = Callable[[int], Any]
Move = Callable[[int, Read], None]
"""Moves one read by a lane (from 0), and returns when its bytes are there."""


class Readers:
    """Threads that ``move``, each by a lane of its own; ``done`` has the keys in order of completion.

    ``lock`` is held while a thread picks its next read, and so while ``begin(key)`` reserves space for a
    speculative one: None drops it. A thread that fails puts its error on ``done``.
    """

    def __init__(self, move: Move, lanes: int, begin: Begin | None = None) -> None:
        self.move, self.begin = move, begin
        self.lock = threading.Condition()
        self.demand: deque[Read] = deque()
        self.speculative: deque[Read] = deque()
        self.done: SimpleQueue[int | Exception] = SimpleQueue()
        self.closed = False
        self.threads = [
            threading.Thread(target=self._work, args=(lane,), daemon=True) for lane in range(lanes)
        ]
        for thread in self.threads:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the reads that have started end, forget the others, and wait for the threads."""
        with self.lock:
            self.closed = True
            self.demand.clear()
            self.speculative.clear()
            self.lock.notify_all()
        for thread in self.threads:
            thread.join()

    def wait(self) -> int:
        """Return the next key that is done; the error if its read failed."""
        return self._checked(self.done.get())

    def poll(self) -> list[int]:
        """Return the keys that are done and were not asked for yet, without waiting."""
        return [self._checked(self.done.get()) for _ in range(self.done.qsize())]

    @staticmethod
    def _checked(done: int | Exception) -> int:
        if isinstance(done, Exception):
            raise done
        return done

    def _next(self) -> Read | None:
        """Wait for a read to start; None when the readers close."""
        with self.lock:
            while True:
                if self.closed:
                    return None
                if self.demand:
                    return self.demand.popleft()
                if self.speculative:
                    read = self.speculative.popleft()
                    assert self.begin is not None
                    if (buffer := self.begin(read.key)) is not None:
                        return Read(read.key, read.offset, buffer)
                else:
                    self.lock.wait()

    def _work(self, lane: int) -> None:
        while (read := self._next()) is not None:
            try:
                self.move(lane, read)
            except Exception as error:  # noqa: BLE001 # whatever the device says is raised by who waits
                self.done.put(error)
            else:
                self.done.put(read.key)


def file_move(fd: int) -> Move:
    """Return what reads a file."""
    return lambda _, read: read_whole(fd, read.buffer, read.offset)


def read_whole(fd: int, buffer: memoryview, offset: int) -> None:
    """Fill ``buffer`` from ``offset``; OSError at the end of the file."""
    n = 0
    while n < len(buffer):
        got = os.preadv(fd, [buffer[n:]], offset + n)
        if got == 0:
            raise OSError(f"the file ends at byte {offset + n}")
        n += got
