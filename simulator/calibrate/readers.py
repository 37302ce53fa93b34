"""Reader threads: a drive's lanes, as an offloading engine has them; demand goes before speculation."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from types import TracebackType
from typing import Self

Begin = Callable[[int], memoryview | None]


@dataclass(frozen=True, slots=True)
class Read:
    """One read: its key, where in the file, and into what; None is asked for when the read starts."""

    key: int
    offset: int
    buffer: memoryview | None


class Readers:
    """Threads that read one file; ``done`` has the keys in order of completion.

    ``lock`` is held while a thread picks its next read, and so while ``begin(key)`` reserves space for a
    speculative one: None drops it. A thread that fails puts its error on ``done``. ``fd`` None reads
    nothing and completes at once: what is left is the cost of the threads.
    """

    def __init__(self, fd: int | None, lanes: int, begin: Begin | None = None) -> None:
        self.fd, self.begin = fd, begin
        self.lock = threading.Condition()
        self.demand: deque[Read] = deque()
        self.speculative: deque[Read] = deque()
        self.done: SimpleQueue[int | OSError] = SimpleQueue()
        self.closed = False
        self.threads = [threading.Thread(target=self._work, daemon=True) for _ in range(lanes)]
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
        """Return the next key that is done; OSError if its read failed."""
        return self._checked(self.done.get())

    def poll(self) -> list[int]:
        """Return the keys that are done and were not asked for yet, without waiting."""
        return [self._checked(self.done.get()) for _ in range(self.done.qsize())]

    @staticmethod
    def _checked(done: int | OSError) -> int:
        if isinstance(done, OSError):
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

    def _work(self) -> None:
        while (read := self._next()) is not None:
            try:
                if self.fd is not None:
                    assert read.buffer is not None
                    read_whole(self.fd, read.buffer, read.offset)
            except OSError as error:
                self.done.put(error)
            else:
                self.done.put(read.key)


def read_whole(fd: int, buffer: memoryview, offset: int) -> None:
    """Fill ``buffer`` from ``offset``; OSError at the end of the file."""
    n = 0
    while n < len(buffer):
        got = os.preadv(fd, [buffer[n:]], offset + n)
        if got == 0:
            raise OSError(f"the file ends at byte {offset + n}")
        n += got
