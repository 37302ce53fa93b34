"""A trace's layer steps as flat arrays: what each pass demands of each layer, in order of last occurrence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from simulator.trace.core import DECODE, MISSING, Trace

Ints = npt.NDArray[np.int64]
NEVER = 2**40


@dataclass(frozen=True, slots=True)
class Events:
    """N lookups of E layer steps: ``keys`` [N] are layer * experts + expert; ``starts`` [E + 1].

    Step e is of layer e % ``n_layers``. ``decode`` [E] says whether a pass decodes. A prompt is one pass.
    """

    keys: npt.NDArray[np.int32]
    starts: Ints
    decode: npt.NDArray[np.bool_]
    n_layers: int
    n_experts: int

    def next_uses(self) -> Ints:
        """Return for each lookup the step that demands its key next, NEVER where none does."""
        steps = np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))
        order = np.argsort(self.keys, kind="stable")
        ordered = self.keys[order]
        again = np.flatnonzero(ordered[1:] == ordered[:-1])
        found = np.full(len(self.keys), NEVER, dtype=np.int64)
        found[order[again]] = steps[order[again + 1]]
        return found


def events_of(trace: Trace) -> Events:
    """Return the layer steps of a trace: a prompt in one pass, a decoded token in one."""
    header = trace.header
    ids = trace.experts.astype(np.int32)
    offsets = (np.arange(header.n_layers, dtype=np.int32) * header.n_experts)[None, :, None]
    keys = np.where(ids != MISSING, ids + offsets, -1)
    flat: list[npt.NDArray[np.int32]] = []
    counts: list[npt.NDArray[np.int64]] = []
    decodes: list[bool] = []
    for start, stop, decode in _passes(trace):
        part = keys[start:stop]
        if decode:
            there = part >= 0
            flat.append(part[there])
            counts.append(there.sum(axis=2).astype(np.int64).ravel())
            decodes += [True] * (stop - start)
            continue
        unions = [_last_first(part[:, layer].ravel()) for layer in range(header.n_layers)]
        flat += unions
        counts.append(np.array([len(one) for one in unions], dtype=np.int64))
        decodes.append(False)
    starts = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64)
    by_step = np.repeat(np.array(decodes, dtype=np.bool_), header.n_layers)
    return Events(np.concatenate(flat), starts, by_step, header.n_layers, header.n_experts)


def _passes(trace: Trace) -> Iterator[tuple[int, int, bool]]:
    """Yield (first row, last row + 1, decodes) of runs of rows: a prompt whole, decoded tokens together."""
    decode = trace.phase == DECODE
    change = (trace.sequence[1:] != trace.sequence[:-1]) | (decode[1:] != decode[:-1])
    bounds = [0, *(np.flatnonzero(change) + 1).tolist(), len(decode)]
    for start, stop in pairwise(bounds):
        yield start, stop, bool(decode[start])


def _last_first(keys: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Return the distinct keys in order of their last occurrence."""
    backwards = keys[keys >= 0][::-1]
    unique, first = np.unique(backwards, return_index=True)
    found: npt.NDArray[np.int32] = unique[np.argsort(-first)]
    return found
