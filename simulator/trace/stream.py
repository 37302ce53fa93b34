"""Traces larger than memory: read chunk by chunk, or sequence by sequence.

A chunk is valid by itself and follows the one before it, so what holds for a whole trace holds for
its chunks in order. Memory depends on the chunk, not on the file or its row groups.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from simulator.errors import InputError
from simulator.trace.columns import from_table
from simulator.trace.core import Trace
from simulator.trace.footer import OpenTrace, open_trace
from simulator.trace.parts import join, n_bytes, take
from simulator.trace.seam import Seam
from simulator.trace.validate import validate

CHUNK_BYTES = 2**20  # of arrays; decoding and checking them takes several times as much
MOST_SEQUENCE = 2 * 2**30


def read_chunks(path: str | os.PathLike[str], most_tokens: int | None = None) -> Iterator[Trace]:
    """Yield the trace's tokens in order, at most ``most_tokens`` at once (default: about 1 MiB).

    Errors: as ``read_trace``, at the chunk with the first fault.
    """
    where = str(path)
    seam, seen = Seam(where), 0
    with open_trace(path) as opened:
        tokens = most_tokens or max(CHUNK_BYTES // opened.token_bytes, 1)
        for table in _tables(opened, tokens):
            chunk = from_table(table, opened.header, where)
            validate(chunk)
            seam.check(chunk)
            seen += chunk.n_tokens
            yield chunk
        if seen != opened.n_tokens:  # a damaged page may pass for the end of its column
            what = f"not a whole Parquet file ({seen:,} of {opened.n_tokens:,} tokens)"
            raise InputError(where, what, "it may be truncated: write it again")


def read_sequences(path: str | os.PathLike[str]) -> Iterator[Trace]:
    """Yield the trace's sequences in order, each whole; memory depends on the longest one.

    Errors: as ``read_trace``; a sequence of more than 2 GiB.
    """
    held: list[Trace] = []
    for chunk in read_chunks(path):
        starts = np.flatnonzero(np.diff(chunk.sequence)) + 1
        for start, stop in zip([0, *starts], [*starts, chunk.n_tokens], strict=True):
            part = take(chunk, slice(start, stop))
            if held and held[0].sequence[0] != part.sequence[0]:
                yield join(held)
                held = []
            held.append(part)
            if sum(map(n_bytes, held)) > MOST_SEQUENCE:
                what = f"sequence {part.sequence[0]} takes more than {MOST_SEQUENCE:,} bytes"
                raise InputError(str(path), what, "cut it: moesim trace slice --tokens")
    yield join(held)


def _tables(opened: OpenTrace, tokens: int) -> Iterator[Any]:
    """Yield tables of whole tokens, wherever the file's row groups end."""
    import pyarrow as pa

    n_layers = opened.header.n_layers
    schema = opened.file.schema_arrow
    batches = opened.file.iter_batches(batch_size=tokens * n_layers, use_threads=False)
    for batch in batches:
        yield pa.Table.from_batches([batch], schema)
