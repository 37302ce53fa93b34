"""Passes: which tokens run together, what each layer step demands, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from policies.base import Event


@dataclass(frozen=True, slots=True)
class Launches:
    """What it costs to launch a pass's work, in ns; lists have one entry a MoE layer (docs/timing.md §11).

    All but ``experts_start_ns`` is the host's time: of each dense item, of the experts of a step together,
    of one expert. ``experts_start_ns`` is the main unit's, once a step. ``seen``: the host waits for routing.
    """

    prologue_ns: int
    epilogue_ns: int
    before_ns: Sequence[int]
    after_ns: Sequence[int]
    experts_ns: Sequence[int]
    expert_ns: Sequence[int]
    combine_ns: Sequence[int]
    experts_start_ns: Sequence[int]
    seen: Sequence[bool]

    def of(self, item: str, layer: int) -> int:
        """Return the issue of an item that is done once a layer, or (layer -1) once a pass."""
        ns = getattr(self, item)
        return int(ns if layer < 0 else ns[layer])


@dataclass(slots=True)
class PassCosts:
    """Dense work of one pass in ns; lists have one entry a MoE layer (docs/timing.md §3).

    ``launches``: None where they cost nothing.
    """

    prologue_ns: int
    epilogue_ns: int
    before_ns: Sequence[int]
    after_ns: Sequence[int]
    combine_ns: Sequence[int]
    launches: Launches | None = None


@dataclass(slots=True)
class Pass:
    """One forward pass: its demand by layer, its dense costs, and whose tokens it computes.

    ``demands[layer]`` lists expert keys in order of last occurrence; ``tokens`` and ``gate_mass`` align with
    it; ``tokens`` is None where every expert serves one token, ``gate_mass`` where no policy asks for it.
    ``rows`` are the trace rows; ``shares`` are (sequence, first position, tokens, decoded) of each sequence.
    ``cache_bytes`` is tier 0's cache from this pass on, where the KV cache grows into it.
    """

    index: int
    decode: bool
    costs: PassCosts
    demands: Sequence[Sequence[int]]
    tokens: Sequence[Sequence[int]] | None = None
    gate_mass: Sequence[Sequence[float]] | None = None
    rows: Sequence[int] = ()
    shares: Sequence[tuple[int, int, int, bool]] = ()
    starts_sequence: bool = False
    cache_bytes: int | None = None

    @property
    def n_tokens(self) -> int:
        """Return how many tokens the pass computes."""
        return sum(share[2] for share in self.shares) or 1

    def event(self, layer: int) -> Event:
        """Return the demand event of a layer; without recorded mass every token weighs the same."""
        keys = self.demands[layer]
        tokens = (1,) * len(keys) if self.tokens is None else self.tokens[layer]
        if self.gate_mass is None:
            total = sum(tokens)
            n_tokens = self.n_tokens
            mass: Sequence[float] = tuple(n_tokens * n / total for n in tokens)
        else:
            mass = self.gate_mass[layer]
        index = self.index * len(self.demands) + layer
        return Event(index, layer, keys, tokens, mass, self.rows, self.decode)


@dataclass(slots=True)
class Record:
    """What happened in one pass: its span, a label for every nanosecond, and counts of lookups.

    ``stall_ns`` has one entry a link; so has ``busy_ns``, the time in which at least one of its lanes was
    occupied. Masses are sums of normalised gate mass over (token, layer).
    """

    start_ns: int
    end_ns: int = 0
    dense_ns: int = 0
    expert_ns: int = 0
    cpu_wait_ns: int = 0
    overhead_ns: int = 0
    host_ns: int = 0
    stall_ns: list[int] = field(default_factory=list)
    busy_ns: list[int] = field(default_factory=list)
    busy_cpu_ns: int = 0
    lookups: int = 0
    hits: int = 0
    late: int = 0
    fetched: int = 0
    on_cpu: int = 0
    deferred: int = 0
    substituted: int = 0
    skipped: int = 0
    found_in_dram: int = 0
    not_in_top: int = 0
    demand_bytes: int = 0
    mass_high: float = 0.0
    mass_low: float = 0.0
    mass_substituted: float = 0.0
    mass_deferred: float = 0.0
    mass_skipped: float = 0.0

    @property
    def misses(self) -> int:
        """Lookups that found nothing, whatever was done about them."""
        return self.lookups - self.hits - self.late
