"""Traces taken apart and put together, token by token."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.trace.columns import arrays_of, from_arrays
from simulator.trace.core import MISSING, Trace


def take(trace: Trace, tokens: slice | npt.NDArray[np.bool_]) -> Trace:
    """Return the tokens of a slice (as views) or of a mask [T], in their order."""
    arrays = {name: array[tokens] for name, array in arrays_of(trace).items()}
    return from_arrays(arrays, trace.header, trace.source)


def read_only(trace: Trace) -> Trace:
    """Return the trace with arrays that nobody can write to: runs of a sweep share them.

    They are views, which cannot be made writeable again; the arrays given become read-only too.
    """
    return from_arrays(
        {name: fixed(array) for name, array in arrays_of(trace).items()}, trace.header, trace.source
    )


def fixed(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a view of an array that is read-only from now on."""
    array.setflags(write=False)
    return array.view()


def spans(trace: Trace) -> list[slice]:
    """Return where the tokens of each sequence are, in file order."""
    starts = np.flatnonzero(np.diff(trace.sequence, prepend=MISSING)).tolist()
    return [slice(*span) for span in pairwise([*starts, trace.n_tokens])]


def split(trace: Trace, n_first: int) -> tuple[Trace, Trace]:
    """Return the first ``n_first`` sequences and the others, as views."""
    at = sum(span.stop - span.start for span in spans(trace)[:n_first])
    return take(trace, slice(at)), take(trace, slice(at, None))


def shared_sequences(one: Trace, other: Trace) -> bool:
    """Return whether a sequence of one trace, by its routing and from end to end, is one of the other too."""
    known = {one.experts[span].astype(np.int16).tobytes() for span in spans(one)}
    return any(other.experts[span].astype(np.int16).tobytes() in known for span in spans(other))


def join(parts: Sequence[Trace]) -> Trace:
    """Return the tokens of traces with the first one's header and columns, one after another."""
    if len(parts) == 1:
        return parts[0]
    arrays = [arrays_of(part) for part in parts]
    whole = {name: np.concatenate([part[name] for part in arrays]) for name in arrays[0]}
    return from_arrays(whole, parts[0].header, parts[0].source)


def gathered(parts: Iterable[Trace], most_bytes: int) -> Iterator[Trace]:
    """Join neighbours until another would make them larger than ``most_bytes``."""
    held: list[Trace] = []
    total = 0
    for part in parts:
        size = n_bytes(part)
        if held and total + size > most_bytes:
            yield join(held)
            held, total = [], 0
        held.append(part)
        total += size
    if held:
        yield join(held)


def renumbered(chunks: Iterable[Trace], first: int = 0) -> Iterator[Trace]:
    """Number a trace's sequences ``first``, ``first`` + 1, ... in their order."""
    last, number = MISSING, first - 1
    for chunk in chunks:
        starts = np.diff(chunk.sequence, prepend=last) != 0
        sequence = (number + np.cumsum(starts)).astype(np.int32)
        last, number = chunk.sequence[-1], sequence[-1]
        yield replace(chunk, sequence=sequence)


def n_bytes(trace: Trace) -> int:
    """Return the bytes of all arrays."""
    arrays: Iterable[npt.NDArray[Any]] = arrays_of(trace).values()
    return sum(array.nbytes for array in arrays)
