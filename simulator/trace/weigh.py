"""Assumed gate weights for recordings that have none: by rank, as another trace has them in the mean."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from simulator.errors import InputError
from simulator.trace.core import MISSING, Trace
from simulator.trace.edit import noted


def weights_by_rank(like: Iterable[Trace], where: str) -> tuple[npt.NDArray[np.float16], str, int]:
    """Return the mean weight of the first, second, ... of the chosen [k], how they are stored, and k.

    Errors: InputError (a trace without weights).
    """
    total, n, kind = None, 0, "none"
    for chunk in like:
        if chunk.weights is None:
            raise InputError(where, "has no gate weights", "name a trace that recorded them, of a like model")
        there = chunk.weights[chunk.experts[:, :, 0] != MISSING].astype(np.float64)
        ranked = -np.sort(-there, axis=-1)
        total = ranked.sum(axis=0) if total is None else total + ranked.sum(axis=0)
        n, kind = n + len(ranked), chunk.header.weights
    if total is None or not n:
        raise InputError(where, "has no routed tokens", "name a trace that recorded some")
    return (total / n).astype(np.float16), kind, len(total)


def weighed(
    chunks: Iterable[Trace], weights: npt.NDArray[np.float16], kind: str, source: str
) -> Iterator[Trace]:
    """Yield chunks with assumed weights: an expert's is that of its place in its row.

    The header says where they are from. Errors: InputError (weights that were recorded, another k).
    """
    from dataclasses import replace

    for chunk in chunks:
        where = chunk.source or "trace"
        if chunk.weights is not None:
            raise InputError(where, "has gate weights", "recorded ones are better than assumed ones")
        if chunk.header.top_k != len(weights):
            what = f"has {chunk.header.top_k} experts a token, and {source} {len(weights)}"
            raise InputError(where, what, "name a trace with as many")
        there = (chunk.experts != MISSING)[:, :, :1]
        values = np.where(there, weights, np.float16(0))
        said = f"gate weights are assumed: by place in the row, means of {source}"
        header = chunk.header.model_copy(
            update={"weights": kind, "assumed_weights": source, "notes": noted(chunk.header.notes, said)}
        )
        yield replace(chunk, header=header, weights=values)
