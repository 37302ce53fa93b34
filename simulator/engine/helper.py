"""The CPU helper: computes experts beside the GPU, one at a time (docs/timing.md §9)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from simulator.engine.observe import Observer
from simulator.engine.plan import NS_PER_S, ceil_div

NOBODY = -1
"""The key of work that is no expert's: what a group's operations cost in themselves."""


class Group:
    """CPU-placed experts of a layer step: (key, ns alone, bytes read); ``done`` once outputs are back."""

    __slots__ = ("done", "due", "n_bytes", "todo", "work")

    def __init__(self, work: list[tuple[int, int, int]], n_bytes: int, due: int) -> None:
        self.work = work
        self.n_bytes = n_bytes
        self.due = due
        self.todo = len(work)
        self.done = False


class Helper:
    """A serial unit whose rate may be cut by the DRAM that it shares with links.

    ``computed`` is told of every expert that ends; ``busy_ns`` sums how long those took.
    """

    def __init__(self) -> None:
        self.queue: deque[tuple[Group, int, int, int]] = deque()
        self.group: Group | None = None
        self.key = self.ask = self.left = self.rate = self.since = self.finish = 0
        self.busy_ns = self.started = 0
        self.changed = False
        self.observer: Observer | None = None
        self.computed: Callable[[Group, int], None] = lambda _group, _key: None

    def busy_until(self, now: int) -> int:
        """Return for how long experts have been computed up to ``now``."""
        return self.busy_ns + (now - self.started if self.group is not None else 0)

    def add(self, group: Group, now: int) -> None:
        """Queue a group whose activations have arrived."""
        self.queue.extend((group, *entry) for entry in group.work)
        if self.group is None:
            self._start(now)

    def complete(self, now: int) -> None:
        """End the job that ends at ``now``, and start the next one if there is one."""
        if self.group is None or self.changed or self.finish != now:
            return
        group, self.group = self.group, None
        self.changed = True
        self.busy_ns += now - self.started
        if self.observer is not None:
            self.observer.helped(self.key, self.started, now)
        group.todo -= 1
        self.computed(group, self.key)
        if self.queue:
            self._start(now)

    def _start(self, now: int) -> None:
        self.group, self.key, ns, n_bytes = self.queue.popleft()
        self.ask = max(1, n_bytes * NS_PER_S // ns)
        self.left, self.since, self.rate = ns * self.ask, now, 0
        self.started = now
        self.changed = True

    def grant(self, rate: int, now: int) -> None:
        """Give the running job its rate from ``now`` on."""
        self.left -= self.rate * (now - self.since)
        self.since, self.rate = now, rate
        self.finish = now + ceil_div(self.left, rate)
