"""What each pass of a run did, as the engine tells it: totals, and a row for each sequence of a pass."""

from __future__ import annotations

from array import array
from collections import defaultdict
from dataclasses import dataclass, field

from simulator.engine.demand import Pass, Record
from simulator.errors import InputError

LABELS = ("dense", "expert_compute", "cpu_expert_wait", "overhead", "host")


def _spent(record: Record) -> tuple[int, ...]:
    """Return what a pass spent, in the order of ``LABELS``."""
    return record.dense_ns, record.expert_ns, record.cpu_wait_ns, record.overhead_ns, record.host_ns


@dataclass(slots=True)
class Totals:
    """Sums over passes; ``stall_ns`` by link."""

    passes: int = 0
    tokens: int = 0
    ns: int = 0
    lookups: int = 0
    hits: int = 0
    late: int = 0
    misses: int = 0
    demand_bytes: int = 0
    labels: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, record: Record, tokens: int, links: tuple[str, ...], times: int) -> None:
        """Add a pass that computed ``tokens`` tokens, charged ``times`` times to its sequences."""
        self.passes += 1
        self.tokens += tokens
        self.ns += record.end_ns - record.start_ns
        self.lookups += record.lookups
        self.hits += record.hits
        self.late += record.late
        self.misses += record.misses
        self.demand_bytes += record.demand_bytes
        for label, ns in zip(LABELS, _spent(record), strict=True):
            self.labels[label] += times * ns
        for name, ns in zip(links, record.stall_ns, strict=True):
            self.labels[f"stall_{name}"] += times * ns


class Collector:
    """Keeps what each pass did: totals for the summary, and one row per (pass, sequence).

    A batch's pass is charged whole to each of its sequences. A sequence arrives when its slot is free,
    that is when its first pass starts.
    """

    COUNTS = ("lookups", "hits", "late", "misses", "fetched", "on_cpu", "deferred", "substituted", "skipped")

    def __init__(self, links: tuple[str, ...]) -> None:
        self.links = links
        self.prefill, self.decode = Totals(), Totals()
        self.counts: dict[str, int] = dict.fromkeys((*self.COUNTS, "found_in_dram", "not_in_top"), 0)
        self.mass: dict[str, float] = dict.fromkeys(
            ("high", "low", "substituted", "deferred", "skipped"), 0.0
        )
        names = ("pass", "sequence", "position", "decoded", "tokens", "start_ns", "latency_ns")
        spent = (*(f"{label}_ns" for label in LABELS), *(f"stall_{name}_ns" for name in links))
        busy = (*(f"busy_{name}_ns" for name in links), "busy_cpu_ns")
        counts = ("lookups", "hits", "late", "misses", "demand_bytes")
        self.rows: dict[str, array[int]] = {name: array("q") for name in (*names, *spent, *busy, *counts)}
        self.arrival: dict[int, int] = {}
        self.last_end: dict[int, int] = {}
        self.prompt_end: dict[int, int] = {}
        self.gaps: dict[int, list[int]] = defaultdict(list)
        self.end_ns = 0

    def keep(self, p: Pass, record: Record) -> None:
        """Take in one pass."""
        decoded = sum(n for _, _, n, is_decode in p.shares if is_decode)
        prompt = sum(n for _, _, n, is_decode in p.shares if not is_decode)
        totals = self.decode if decoded else self.prefill
        totals.add(record, decoded or prompt, self.links, decoded or 1)
        if decoded and prompt:
            self.prefill.tokens += prompt
        for name in self.counts:
            self.counts[name] += getattr(record, name)
        for name in self.mass:
            self.mass[name] += getattr(record, f"mass_{name}")
        self.end_ns = record.end_ns
        for sequence, position, n, is_decode in p.shares:
            self._row(p, record, sequence, position, n, decoded=is_decode)
            start = self.arrival.setdefault(sequence, record.start_ns)
            if is_decode:
                self.gaps[sequence].append(record.end_ns - self.last_end.get(sequence, start))
            else:
                self.prompt_end[sequence] = record.end_ns
            self.last_end[sequence] = record.end_ns

    def _row(self, p: Pass, record: Record, sequence: int, position: int, n: int, *, decoded: bool) -> None:
        spent = (*_spent(record), *record.stall_ns)
        busy = (*record.busy_ns, record.busy_cpu_ns)
        who = (p.index, sequence, position, int(decoded), n, record.start_ns, record.end_ns - record.start_ns)
        what = (record.lookups, record.hits, record.late, record.misses, record.demand_bytes)
        try:
            for column, value in zip(self.rows.values(), (*who, *spent, *busy, *what), strict=True):
                column.append(value)
        except OverflowError:  # prefetches may take longer than the engine's bound of what demand can take
            raise InputError(
                f"pass {p.index}", "the run takes more than 292 years", "results hold 2**63 ns"
            ) from None
