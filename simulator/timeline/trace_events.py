"""Chrome's Trace Event Format: slices, instants, counters and flows on named tracks, written as they come.

Source: "Trace Event Format", the Chromium project's document that Perfetto and chrome://tracing follow.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TextIO


@dataclass(frozen=True, slots=True)
class Track:
    """A row of slices; thread ids are unique over all processes, as viewers want them."""

    pid: int
    tid: int


class TraceEvents:
    """A trace being written. ``about`` is kept beside the events; ``n_events`` counts them.

    Times are in ns, and written as microseconds with three decimals, exactly. Tracks are shown in the
    order in which they are made; slices of one track must not overlap.
    """

    def __init__(self, file: TextIO, about: Mapping[str, Any]) -> None:
        self.file = file
        self.n_events = self.processes = self.threads = self.flows = 0
        self.shown: dict[tuple[int, str], Mapping[str, int]] = {}
        self.next: dict[tuple[int, str], tuple[int, Mapping[str, int]]] = {}
        file.write(f'{{"displayTimeUnit":"ns","otherData":{_json(about)},"traceEvents":[')

    def process(self, name: str) -> int:
        """Make a group of tracks and counters; return its id."""
        self.processes += 1
        self._named("process", name, {"pid": self.processes}, self.processes)
        return self.processes

    def track(self, pid: int, name: str) -> Track:
        """Make a track in a group."""
        self.threads += 1
        self._named("thread", name, {"pid": pid, "tid": self.threads}, self.threads)
        return Track(pid, self.threads)

    def _named(self, kind: str, name: str, ids: dict[str, int], place: int) -> None:
        for what, args in (("name", {"name": name}), ("sort_index", {"sort_index": place})):
            self._write({"name": f"{kind}_{what}", "ph": "M", **ids, "args": args})

    def slice(
        self, track: Track, name: str, category: str, span: tuple[int, int], args: Mapping[str, Any]
    ) -> None:
        """Show something that took from ``span[0]`` to ``span[1]``."""
        start, end = span
        fields = {"name": name, "cat": category, "ph": "X", "pid": track.pid, "tid": track.tid, "args": args}
        self._write(fields, ts=start, dur=end - start)

    def instant(self, track: Track, name: str, category: str, at: int, args: Mapping[str, Any]) -> None:
        """Show something that took no time."""
        fields = {"name": name, "cat": category, "ph": "i", "s": "t", "pid": track.pid, "tid": track.tid}
        self._write({**fields, "args": args}, ts=at)

    def flow(self, name: str, source: tuple[Track, int], target: tuple[Track, int]) -> None:
        """Draw an arrow from the slice around one point to the slice around a later one."""
        self.flows += 1
        for ph, (track, at) in (({"ph": "s"}, source), ({"ph": "f", "bp": "e"}, target)):
            ids = {"id": self.flows, "pid": track.pid, "tid": track.tid}
            self._write({"name": name, "cat": "flow", **ph, **ids}, ts=at)

    def count(self, pid: int, name: str, at: int, values: Mapping[str, int]) -> None:
        """Set a counter from ``at`` on; of several values at one time the last one is shown."""
        if (pid, name) in self.next and self.next[pid, name][0] < at:
            self._show(pid, name)
        self.next[pid, name] = (at, values)

    def _show(self, pid: int, name: str) -> None:
        at, values = self.next.pop((pid, name))
        if self.shown.get((pid, name)) != values:
            self.shown[pid, name] = values
            self._write({"name": name, "ph": "C", "pid": pid, "args": values}, ts=at)

    def close(self) -> None:
        """Write what is left, and the end."""
        for pid, name in list(self.next):
            self._show(pid, name)
        self.file.write("\n]}\n")

    def _write(self, fields: Mapping[str, Any], **times: int) -> None:
        exact = "".join(f'"{key}":{ns // 1000}.{ns % 1000:03d},' for key, ns in times.items())
        self.file.write(f"{',' if self.n_events else ''}\n{{{exact}{_json(fields)[1:]}")
        self.n_events += 1


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))
