"""What the engine is given: links, tiers and runtime settings as plain integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

NS_PER_S = 1_000_000_000


def ceil_div(a: int, b: int) -> int:
    """Return a / b rounded up."""
    return -(-a // b)


def move_ns(n_bytes: int, bytes_per_s: int) -> int:
    """Return how long ``n_bytes`` take at a constant rate; 0 for a rate of 0 (no such cost)."""
    return -(-n_bytes * NS_PER_S // bytes_per_s) if bytes_per_s else 0


def equal_parts(n_bytes: int, n: int) -> list[int]:
    """Return ``n`` parts of ``n_bytes``, the remainder in the first."""
    return [n_bytes // n + n_bytes % n, *[n_bytes // n] * (n - 1)]


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """One link, from tier ``source`` to its neighbour ``target``; docs/timing.md §5 and §6.

    ``bytes_per_s`` is the rate of all lanes together, ``lane_bytes_per_s`` that of one alone
    (0: the same). ``table`` has rows (block bytes, lanes, bytes/s of all lanes together), sorted.
    """

    name: str
    source: int
    target: int
    bytes_per_s: int
    latency_ns: int = 0
    lanes: int = 1
    lane_bytes_per_s: int = 0
    table: tuple[tuple[int, int, int], ...] = ()
    chunk_bytes: int = 0
    preemption: Literal["chunk", "none"] = "chunk"
    split: bool = False
    align_bytes: int = 0
    copy_bytes_per_s: int = 0
    uses_dram: bool = False

    def read_bytes(self, n_bytes: int) -> int:
        """Return how many bytes a read of ``n_bytes`` moves, with alignment."""
        return n_bytes + self.align_bytes

    def lane_rate(self, block_bytes: int, moving: int) -> int:
        """Return the rate of one lane while ``moving`` lanes move, in bytes/s."""
        if not self.table:
            alone = self.lane_bytes_per_s or self.bytes_per_s
            return max(1, min(alone, self.bytes_per_s // moving))
        blocks = sorted({row[0] for row in self.table})
        block = max((b for b in blocks if b <= block_bytes), default=blocks[0])
        rows = sorted(row for row in self.table if row[0] == block)
        total = next((r for _, n, r in reversed(rows) if n <= moving), rows[0][2])
        return max(1, total // moving)


@dataclass(frozen=True, slots=True)
class Overhead:
    """What the runtime's own thread costs; rates of 0 mean no such cost."""

    pass_ns: int = 0
    miss_ns: int = 0
    load_bytes_per_s: int = 0
    evict_bytes_per_s: int = 0
    when: Literal["before", "beside"] = "before"


@dataclass(frozen=True, slots=True)
class HostPlan:
    """What the host thread's work costs beside launches, in ns; docs/timing.md §11.

    ``copy_ns`` is of all calls that one expert's transfer needs; ``blocking``: copies hold the host up.
    """

    round_trip_ns: int = 0
    lookup_ns: int = 0
    miss_ns: int = 0
    evict_ns: int = 0
    copy_ns: int = 0
    activations_ns: int = 0
    group_ns: int = 0
    blocking: bool = False


@dataclass(frozen=True, slots=True)
class RuntimePlan:
    """How the inference engine moves and computes experts; docs/timing.md §4 and §5.

    ``tensors[layer][version]`` has the bytes of each of an expert's tensors; () for ``parts`` equal ones.
    """

    overlap: Literal["expert", "in_order", "layer"] = "expert"
    parts: int = 1
    tensors: tuple[tuple[tuple[int, ...], ...], ...] = ()
    parts_order: Literal["expert", "matrix"] = "expert"
    evict: Literal["on_insert", "after_event"] = "on_insert"
    cancel: Literal["none", "queued", "chunk"] = "queued"
    staging_buffers: int = 2
    host_staging_chunks: int = 8
    exclusive: bool = False
    overhead: Overhead = field(default_factory=Overhead)
    host: HostPlan = field(default_factory=HostPlan)

    def n_parts(self, layer: int) -> int:
        """Return how many parts an expert of a layer has, in all versions."""
        return len(self.tensors[layer][0]) if self.tensors else self.parts

    def part_bytes(self, layer: int, version: int, n_bytes: int) -> Sequence[int]:
        """Return the bytes of each part of an expert of ``n_bytes``."""
        return self.tensors[layer][version] if self.tensors else equal_parts(n_bytes, self.parts)

    def part_ns(self, layer: int, version: int, ns: int) -> Sequence[int]:
        """Return how the ``ns`` that computing an expert takes are divided over its parts."""
        weights = self.tensors[layer][version] if self.tensors else (1,) * self.parts
        whole = sum(weights)
        shares = [ns * weight // whole for weight in weights]
        left = ns - sum(shares)
        return [share + (i < left) for i, share in enumerate(shares)]


@dataclass(frozen=True, slots=True)
class MachinePlan:
    """Tier names, fast to slow (the last holds everything), links, and the shared DRAM rate (0: no limit)."""

    tiers: tuple[str, ...]
    links: tuple[LinkPlan, ...]
    dram_bytes_per_s: int = 0
