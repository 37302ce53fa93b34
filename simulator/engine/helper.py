"""The CPU helper: computes experts beside the GPU, one at a time (docs/timing.md §9)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from simulator.engine.plan import NS_PER_S, ceil_div


class Group:
    """The CPU-placed experts of one layer step; ``done`` once their outputs are back."""

    __slots__ = ("done", "due", "keys", "n_bytes", "on_computed", "todo", "work")

    def __init__(self, keys: list[int], work: list[tuple[int, int]], n_bytes: int, due: int) -> None:
        self.keys = keys
        self.work = work  # (ns alone, bytes read) of each expert
        self.n_bytes = n_bytes
        self.due = due
        self.todo = len(work)
        self.done = False
        self.on_computed: Callable[[Group], None] | None = None


class Helper:
    """A serial unit whose rate may be cut by the DRAM that it shares with links."""

    def __init__(self) -> None:
        self.queue: deque[tuple[Group, int, int]] = deque()
        self.group: Group | None = None
        self.ask = self.left = self.rate = self.since = self.finish = 0
        self.changed = False

    def add(self, group: Group) -> None:
        """Queue a group whose activations have arrived."""
        self.queue.extend((group, ns, n_bytes) for ns, n_bytes in group.work)

    def complete(self, now: int) -> None:
        """End the job that ends at ``now``, and start the next one if there is one."""
        if self.group is not None and self.finish == now:
            group, self.group = self.group, None
            self.changed = True
            group.todo -= 1
            if group.todo == 0 and group.on_computed is not None:
                group.on_computed(group)
        if self.group is None and self.queue:
            self.group, ns, n_bytes = self.queue.popleft()
            self.ask = max(1, n_bytes * NS_PER_S // ns)
            self.left, self.since, self.rate = ns * self.ask, now, 0
            self.changed = True

    def grant(self, rate: int, now: int) -> None:
        """Give the running job its rate from ``now`` on."""
        self.left -= self.rate * (now - self.since)
        self.since, self.rate = now, rate
        self.finish = now + ceil_div(self.left, rate)
