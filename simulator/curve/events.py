"""A trace's layer steps, block by block: what each pass demands of each layer, in order of last occurrence.

Blocks of a file are read one after another, so a trace of any length takes the memory of a block.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from simulator.trace.core import DECODE, MISSING, Trace, TraceHeader
from simulator.trace.footer import read_trace_header
from simulator.trace.parts import take
from simulator.trace.stream import read_chunks

Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.int32]
Source = Trace | Path
"""A trace in memory, or the file of one."""
BLOCK = 400_000
"""Lookups of a block, about."""


@dataclass(frozen=True, slots=True)
class Events:
    """N lookups of E layer steps: ``keys`` [N] are layer * experts + expert; ``starts`` [E + 1] count from 0.

    Step e is of layer e % ``n_layers``, and the run's step ``first`` + e. ``decode`` [E] says whether a pass
    decodes. A prompt is one pass.
    """

    keys: Keys
    starts: Ints
    decode: npt.NDArray[np.bool_]
    first: int
    n_layers: int
    n_experts: int

    def steps(self) -> Ints:
        """Return the step of each lookup [N]."""
        return self.first + np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))


def header_of(source: Source) -> TraceHeader:
    """Return what the trace says of itself. Errors: as ``read_trace_header``."""
    return source.header if isinstance(source, Trace) else read_trace_header(source)


def events_of(source: Source) -> Events:
    """Return all layer steps at once. Errors: as ``read_chunks``."""
    parts = [*blocks(source)]
    counts = np.concatenate([np.diff(part.starts) for part in parts])
    return Events(
        np.concatenate([part.keys for part in parts]),
        _starts(counts),
        np.concatenate([part.decode for part in parts]),
        0,
        parts[0].n_layers,
        parts[0].n_experts,
    )


def blocks(source: Source) -> Iterator[Events]:
    """Yield the layer steps in blocks of whole passes. Errors: as ``read_chunks``."""
    header = header_of(source)
    tokens = max(BLOCK // (header.n_layers * header.top_k), 1)
    first = 0
    for passes in _gathered(_passes(_chunks(source, tokens), header), tokens):
        counts = np.concatenate([counts for _, counts, _ in passes])
        decode = np.concatenate([np.full(len(counts), decodes) for _, counts, decodes in passes])
        keys = np.concatenate([keys for keys, _, _ in passes])
        yield Events(keys, _starts(counts), decode, first, header.n_layers, header.n_experts)
        first += len(counts)


def _starts(counts: Ints) -> Ints:
    return np.concatenate([[0], np.cumsum(counts)])


def _chunks(source: Source, tokens: int) -> Iterator[Trace]:
    if isinstance(source, Trace):
        for start in range(0, source.n_tokens, tokens):
            yield take(source, slice(start, start + tokens))
    else:
        yield from read_chunks(source, tokens)


Passes = tuple[Keys, Ints, bool]
"""Some passes of one phase: their keys, the number of keys of each layer step, and whether they decode."""


def _gathered(found: Iterable[Passes], tokens: int) -> Iterator[list[Passes]]:
    """Yield passes in lists of about as many lookups as ``tokens`` bring: prompts may be short and many."""
    held: list[Passes] = []
    size = 0
    for passes in found:
        held.append(passes)
        size += len(passes[1])
        if size >= tokens:
            yield held
            held, size = [], 0
    if held:
        yield held


def _passes(chunks: Iterable[Trace], header: TraceHeader) -> Iterator[Passes]:
    """Yield the passes of tokens in order: a prompt whole, wherever chunks end."""
    offsets = (np.arange(header.n_layers, dtype=np.int32) * header.n_experts)[None, :, None]
    prompt: list[Keys] | None = None
    last = MISSING
    for chunk in chunks:
        ids = chunk.experts.astype(np.int32)
        keys = np.where(ids != MISSING, ids + offsets, -1)
        for start, stop, sequence, decode in _runs(chunk):
            part = keys[start:stop]
            if prompt is not None and (decode or sequence != last):
                yield _whole(prompt)
                prompt = None
            last = sequence
            if decode:
                there = part >= 0
                yield part[there], there.sum(axis=2, dtype=np.int64).ravel(), True
            else:
                held = prompt or [np.zeros(0, dtype=np.int32)] * header.n_layers
                prompt = [
                    _last_first(np.concatenate([held[layer], part[:, layer].ravel()]))
                    for layer in range(header.n_layers)
                ]
    if prompt is not None:
        yield _whole(prompt)


def _whole(prompt: list[Keys]) -> Passes:
    return np.concatenate(prompt), np.array([len(keys) for keys in prompt], dtype=np.int64), False


def _runs(chunk: Trace) -> Iterator[tuple[int, int, int, bool]]:
    """Yield (first row, last row + 1, sequence, decodes) of rows of one sequence and phase."""
    decode = chunk.phase == DECODE
    change = (chunk.sequence[1:] != chunk.sequence[:-1]) | (decode[1:] != decode[:-1])
    for start, stop in pairwise([0, *(np.flatnonzero(change) + 1).tolist(), len(decode)]):
        yield start, stop, int(chunk.sequence[start]), bool(decode[start])


def _last_first(keys: Keys) -> Keys:
    """Return the distinct keys in order of their last occurrence."""
    backwards = keys[keys >= 0][::-1]
    unique, first = np.unique(backwards, return_index=True)
    found: Keys = unique[np.argsort(-first)]
    return found
