"""The workload: which tokens of a trace run together, in passes, and what each pass demands."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from simulator.assemble.costs import Costs, Span
from simulator.engine.demand import Launches, Pass, PassCosts
from simulator.trace.core import DECODE, PREFILL, Trace


@dataclass(frozen=True, slots=True)
class Batch:
    """The tokens of one pass: trace rows, whether all are decoded, and the sequences that start with it."""

    rows: tuple[int, ...]
    decode: bool
    starts: bool


def batches(
    trace: Trace,
    *,
    batch_size: int,
    prefill_chunk: int,
    mixed: bool,
    max_sequences: int | None,
    max_decode_tokens: int | None,
) -> Iterator[Batch]:
    """Schedule a trace: sequences in file order, each in a slot of the batch that the next one takes over.

    A prompt runs alone, in chunks of ``prefill_chunk`` tokens (0: whole), before its sequence joins the
    decoding; with ``mixed`` each of its chunks shares a pass with the decode step of the others.
    """
    queue = deque(_sequences(trace, max_sequences, max_decode_tokens))
    slots: list[tuple[deque[int], deque[int]]] = []  # prompt rows, decode rows
    while queue or slots:
        fresh = False
        while queue and len(slots) < batch_size:
            slots.append(queue.popleft())
            fresh = True
            if not mixed:
                prompt = slots[-1][0]
                while prompt:
                    yield Batch(_take(prompt, prefill_chunk), decode=False, starts=fresh)
                    fresh = False
                slots = [slot for slot in slots if slot[1]]
        rows: list[int] = []
        decode = True
        for prompt, generated in slots:
            if prompt:
                if decode:
                    rows.extend(_take(prompt, prefill_chunk))
                    decode = False
            else:
                rows.append(generated.popleft())
        slots = [slot for slot in slots if slot[0] or slot[1]]
        if rows:
            yield Batch(tuple(rows), decode=decode, starts=fresh)


def _take(rows: deque[int], n: int) -> tuple[int, ...]:
    return tuple(rows.popleft() for _ in range(min(n or len(rows), len(rows))))


def _sequences(
    trace: Trace, max_sequences: int | None, max_decode_tokens: int | None
) -> list[tuple[deque[int], deque[int]]]:
    """Return the rows of each sequence, prompt and decoded apart, in file order."""
    starts = [0, *(np.flatnonzero(np.diff(trace.sequence)) + 1).tolist(), trace.n_tokens]
    spans = list(pairwise(starts))[:max_sequences]
    found = []
    for start, stop in spans:
        n_prompt = int(np.count_nonzero(trace.phase[start:stop] == PREFILL))
        prompt, decoded = range(start, start + n_prompt), range(start + n_prompt, stop)
        found.append((deque(prompt), deque(decoded[:max_decode_tokens])))
    return found


Keys = tuple[int, ...]
"""Plain and unchangeable: policies see them."""


class Workload:
    """Passes of a trace, made one after another; can be iterated again.

    ``with_mass`` also works out each expert's gate mass (normalised over k), for policies that ask for it.
    ``growing_cache`` is the size of a cache that the KV cache grows into (None: it does not).
    """

    def __init__(
        self,
        trace: Trace,
        schedule: list[Batch],
        costs: Costs,
        *,
        with_mass: bool,
        growing_cache: int | None = None,
    ) -> None:
        self.growing_cache = growing_cache
        self.trace, self.schedule, self.costs, self.with_mass = trace, schedule, costs, with_mass
        n_layers, n_experts = trace.header.n_layers, trace.header.n_experts
        offsets = (np.arange(n_layers, dtype=np.int32) * n_experts)[None, :, None]
        self.keys: npt.NDArray[np.int32] = np.where(trace.experts >= 0, trace.experts + offsets, -1)
        self.gaps = np.asarray((trace.experts < 0).any(axis=(1, 2)))
        self.mass: npt.NDArray[np.float64] | None = _normalised(trace) if with_mass else None

    def __len__(self) -> int:
        return len(self.schedule)

    @cached_property
    def longest_context(self) -> int:
        """Return the most tokens that one sequence has in the cache at a time."""
        return max(first + n for batch in self.schedule for _, first, n, _ in self._spans(batch.rows))

    @cached_property
    def most_sequences(self) -> int:
        """Return the most sequences that one pass computes."""
        return max(len(self._spans(batch.rows)) for batch in self.schedule)

    @cached_property
    def largest_pass(self) -> int:
        """Return the most tokens that one pass computes."""
        return max(len(batch.rows) for batch in self.schedule)

    def demands(self) -> Iterator[list[Keys]]:
        """Iterate over the passes' demands alone: per layer, keys in order of last occurrence."""
        for batch in self.schedule:
            yield self._union(batch.rows)[0]

    def __iter__(self) -> Iterator[Pass]:
        for index, batch in enumerate(self.schedule):
            spans = self._spans(batch.rows)
            demands, tokens, mass = self._union(batch.rows)
            cache = self.growing_cache
            if cache is not None:
                cache -= self.costs.kv_bytes(sum(first + n for _, first, n, _ in spans))
            yield Pass(
                index=index,
                decode=batch.decode,
                costs=self._costs(spans, decode=batch.decode),
                demands=demands,
                tokens=tokens,
                gate_mass=mass,
                rows=batch.rows,
                shares=spans,
                starts_sequence=batch.starts,
                cache_bytes=cache,
            )

    def _costs(self, spans: Sequence[tuple[int, int, int, bool]], *, decode: bool) -> PassCosts:
        costs = self.costs.pass_costs([Span(first, n) for _, first, n, _ in spans], decode=decode)
        costs.launches = self.launches[decode]
        return costs

    @cached_property
    def launches(self) -> tuple[Launches | None, Launches | None]:
        """Return what launching a pass costs: one with prompts, one that decodes."""
        return self.costs.launches(decode=False), self.costs.launches(decode=True)

    def _spans(self, rows: tuple[int, ...]) -> list[tuple[int, int, int, bool]]:
        """Return (sequence, first position, tokens, decoded) of each sequence in a pass, in order."""
        trace = self.trace
        spans: dict[int, tuple[int, int, bool]] = {}
        for row in rows:
            sequence = int(trace.sequence[row])
            first, n, decoded = spans.get(
                sequence, (int(trace.position[row]), 0, bool(trace.phase[row] == DECODE))
            )
            spans[sequence] = (first, n + 1, decoded)
        return [(sequence, *span) for sequence, span in spans.items()]

    def _union(
        self, rows: tuple[int, ...]
    ) -> tuple[list[Keys], list[Keys] | None, list[tuple[float, ...]] | None]:
        """Return, by layer, the distinct keys in order of last occurrence, with tokens and mass of each."""
        if len(rows) == 1 and not self.gaps[rows[0]]:
            keys = list(map(tuple, self.keys[rows[0]].tolist()))
            return keys, None, None if self.mass is None else list(map(tuple, self.mass[rows[0]].tolist()))
        demands, tokens, masses = [], [], []
        chosen = self.keys[list(rows)]
        weights = None if self.mass is None else self.mass[list(rows)]
        for layer in range(chosen.shape[1]):
            flat = chosen[:, layer].ravel()
            there = flat >= 0
            backwards = flat[there][::-1]
            unique, first, inverse, count = np.unique(
                backwards, return_index=True, return_inverse=True, return_counts=True
            )
            order = np.argsort(-first)
            demands.append(tuple(unique[order].tolist()))
            tokens.append(tuple(count[order].tolist()))
            if weights is not None:
                mass = np.bincount(
                    inverse, weights=weights[:, layer].ravel()[there][::-1], minlength=len(unique)
                )
                masses.append(tuple(mass[order].tolist()))
        return demands, tokens, masses if weights is not None else None


def _normalised(trace: Trace) -> npt.NDArray[np.float64]:
    """Return gate weights divided by their sum over k; equal ones where the trace has none."""
    if trace.weights is None:
        return np.full(trace.experts.shape, 1 / trace.header.top_k)
    weights = np.where(trace.experts >= 0, trace.weights.astype(np.float64), 0.0)
    total = weights.sum(axis=2, keepdims=True)
    normalised: npt.NDArray[np.float64] = np.divide(
        weights, total, out=np.zeros_like(weights), where=total > 0
    )
    return normalised
