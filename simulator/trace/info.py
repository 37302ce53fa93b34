"""A trace in numbers: its size, and how much routing repeats and concentrates.

Everything is a ratio of counts, and counts are added up chunk by chunk: a trace of any size takes the
memory of one chunk, and gives the same numbers in whatever chunks it comes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.trace.core import DECODE, MISSING, PREFILL, Ids, Trace
from simulator.trace.parts import join, take

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


def summary(trace: Trace) -> dict[str, Any]:
    """Return what ``moesim trace info`` shows of a trace that is in memory: see ``summarise``."""
    return summarise([trace])


def summarise(chunks: Iterable[Trace]) -> dict[str, Any]:
    """Return what ``moesim trace info`` shows of a trace's chunks, in order; ready for JSON.

    ``lag1_reuse`` and ``top_share`` hold one number over all tokens and one for each phase (None
    where there is nothing to count). There is at least one chunk.
    """
    counts: dict[str, Counts] = {}
    sequences = missing = 0
    last: Trace | None = None
    for chunk in chunks:
        uses = _uses(chunk)
        for name, tokens in _phases(chunk).items():
            counts.setdefault(name, Counts(chunk)).add(uses, tokens)
        for part in (chunk,) if last is None else (join([last, take(chunk, slice(1))]), chunk):
            pairs = _pairs(part)
            for name, tokens in _phases(part).items():
                counts[name].add_pairs(*pairs, tokens)
        missing += int((chunk.experts[:, :, 0] == MISSING).sum())
        sequences += int((np.diff(chunk.sequence) != 0).sum())
        sequences += last is None or last.sequence[-1] != chunk.sequence[0]
        last = take(chunk, slice(-1, None))
    assert last is not None
    header = last.header
    return {
        "source": last.source,
        "tokens": counts["all"].tokens,
        "prefill_tokens": counts["prefill"].tokens,
        "decode_tokens": counts["decode"].tokens,
        "sequences": int(sequences),
        "layers": header.n_layers,
        "experts": header.n_experts,
        "top_k": header.top_k,
        "missing_rows": missing,
        "predicted_layers_ahead": len(last.predicted),
        "offers": sorted(last.offers()),
        "lag1_reuse": {name: count.lag1_reuse() for name, count in counts.items()},
        "top_share": {name: count.top_share() for name, count in counts.items()},
        "all_experts_bytes": sum(header.expert_bytes) * header.n_experts if header.expert_bytes else None,
        "all_dense_bytes": sum(header.dense_bytes) if header.dense_bytes else None,
        "header": header.model_dump(mode="json"),
    }


def lag1_reuse(trace: Trace, tokens: Bools) -> float | None:
    """Return the mean over layers and neighbouring tokens of a sequence of |E_t and E_t+1| / k.

    ``tokens`` [T] marks those that count; a pair counts if both do and the layer has both rows.
    """
    counts = Counts(trace)
    counts.add_pairs(*_pairs(trace), tokens)
    return counts.lag1_reuse()


def top_share(trace: Trace, tokens: Bools) -> float | None:
    """Return the mean over layers of the uses taken by the ceil(E / 10) most used experts."""
    counts = Counts(trace)
    counts.add(_uses(trace), tokens)
    return counts.top_share()


class Counts:
    """Uses of experts [L, E], and pairs of neighbouring rows, of those tokens of a trace that count."""

    def __init__(self, like: Trace) -> None:
        header = like.header
        self._top_k = header.top_k
        self._uses = np.zeros((header.n_layers, header.n_experts), dtype=np.int64)
        self._pairs = self._shared = self.tokens = 0

    def add(self, uses: Ints, tokens: Bools) -> None:
        """Count the uses (see ``_uses``) of the tokens marked in ``tokens`` [T]."""
        n_layers, n_experts = self._uses.shape
        counted = np.bincount(uses[tokens].reshape(-1), minlength=n_layers * (n_experts + 1))
        self._uses += counted.reshape(n_layers, n_experts + 1)[:, 1:]
        self.tokens += int(tokens.sum())

    def add_pairs(self, rows: Ints, shared: Ints, tokens: Bools) -> None:
        """Count the pairs (see ``_pairs``) of which both tokens are marked in ``tokens`` [T]."""
        both = tokens[1:] & tokens[:-1]
        self._pairs += int(rows[both].sum())
        self._shared += int(shared[both].sum())

    def lag1_reuse(self) -> float | None:
        """Return shared experts of pairs / (pairs * k), None without a pair."""
        return self._shared / (self._pairs * self._top_k) if self._pairs else None

    def top_share(self) -> float | None:
        """Return the mean over layers of the share of the ceil(E / 10) most used, None without a use."""
        tenth = math.ceil(self._uses.shape[1] / 10)
        ranked = np.sort(self._uses[self._uses.any(axis=1)], axis=1)
        shares = ranked[:, -tenth:].sum(axis=1) / ranked.sum(axis=1)
        return math.fsum(shares) / len(shares) if len(shares) else None


def _phases(chunk: Trace) -> dict[str, Bools]:
    """Return a mask of tokens [T] for each number that is shown."""
    everything = np.ones(chunk.n_tokens, dtype=np.bool_)
    return {"all": everything, "prefill": chunk.phase == PREFILL, "decode": chunk.phase == DECODE}


def _uses(chunk: Trace) -> Ints:
    """Return layer * (E + 1) + expert + 1 [T, L, k]: a number for each expert, and one for missing rows."""
    header = chunk.header
    return chunk.experts + (np.arange(header.n_layers) * (header.n_experts + 1) + 1)[:, None]


def _pairs(chunk: Trace) -> tuple[Ints, Ints]:
    """Return layers with both rows, and experts that both name, of each token and the next [T - 1].

    They are 0 where the two are not neighbours in a sequence.
    """
    neighbours = (chunk.sequence[1:] == chunk.sequence[:-1]) & (np.diff(chunk.position) == 1)
    before, after = chunk.experts[:-1], chunk.experts[1:]
    there = (before[:, :, 0] != MISSING) & (after[:, :, 0] != MISSING) & neighbours[:, None]
    shared = np.zeros(there.shape, dtype=np.int16)
    ours, theirs = _slots(before), _slots(after)
    for one in ours:
        for other in theirs:
            shared += one == other
    return there.sum(axis=1), np.where(there, shared, 0).sum(axis=1)


def _slots(ids: Ids) -> Ids:
    """Return ids [T, L, k] slot by slot, each in one piece: comparing those is several times faster."""
    return np.ascontiguousarray(np.moveaxis(ids, 2, 0))
