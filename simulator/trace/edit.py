"""What the edits of traces share: a source is named and hashed, a result is written beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from simulator.files import check_source
from simulator.trace.columns import from_arrays
from simulator.trace.core import Trace, TraceHeader
from simulator.trace.parquet import TraceWriter
from simulator.trace.parts import gathered

# Of a row group, in arrays: smaller ones make the footer of a large trace larger than a reader takes.
GROUP_BYTES = 2 * 2**20
# What a part of a trace is called in ``Trace.offers``, and the beginnings of its columns' names.
OFFERED = {
    "gate_weights": ("weights", "predicted_weights"),
    "predictions": ("predicted",),
    "gate_top": ("gate_top",),
    "recorded_residency": ("recorded",),
    "token_ids": ("token_id",),
}


def write_chunks(chunks: Iterable[Trace], out: Path) -> int:
    """Write chunks in order, small ones joined, and return how many tokens. Errors: as TraceWriter."""
    n_tokens = 0
    with TraceWriter(out) as writer:
        for chunk in gathered(chunks, GROUP_BYTES):
            writer.append(chunk)
            n_tokens += chunk.n_tokens
    return n_tokens


def described(path: Path) -> str:
    """Return a file's name, without its folder, and the beginning of its SHA-256."""
    check_source(path)
    with path.open("rb") as file:
        return f"{path.name} (sha256 {hashlib.file_digest(file, 'sha256').hexdigest()[:16]})"


def noted(notes: str, more: str) -> str:
    """Return the notes of a header with a sentence added."""
    return f"{notes}; {more}" if notes else more


def without(names: Iterable[str], columns: Iterable[str]) -> list[str]:
    """Return those columns that belong to none of the parts ``names`` (words of ``OFFERED``)."""
    gone = tuple(stem for name in names for stem in OFFERED[name])
    return [name for name in columns if not name.startswith(gone)]


def with_columns(arrays: Mapping[str, Any], header: TraceHeader, source: str) -> Trace:
    """Return the trace of arrays; where weights are not among them, the header says so."""
    if "weights" not in arrays and header.weights != "none":
        header = header.model_copy(update={"weights": "none"})
    return from_arrays(arrays, header, source)
