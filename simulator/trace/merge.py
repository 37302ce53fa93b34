"""Several traces of one model as one: sequences renumbered in the order given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from simulator.errors import InputError
from simulator.trace.columns import arrays_of
from simulator.trace.core import Trace, TraceHeader
from simulator.trace.edit import described, noted, with_columns
from simulator.trace.parts import renumbered
from simulator.trace.stream import read_chunks

# Fields that may differ; in all others traces of one model, recorded alike, agree.
COMBINED = ("phase_source", "recorder", "recorder_version", "prompt_source", "licence")
Read = Callable[[Path], Iterator[Trace]]


def merge(paths: Sequence[Path], *, common: bool, read: Read = read_chunks) -> Iterator[Trace]:
    """Yield the chunks of all traces, one trace after another, under one header.

    Columns that not all traces have are refused, or left out where ``common``. ``read`` yields the
    chunks of a path. Errors: InputError (another model or shape, columns that differ).
    """
    firsts = [_first(path) for path in paths]
    columns = _columns(paths, firsts, common=common)
    header = _header(paths, firsts, weights="weights" in columns)
    number = 0
    for path in paths:
        for chunk in renumbered(read(path), first=number):
            number = int(chunk.sequence[-1]) + 1
            arrays = arrays_of(chunk)
            kept = {name: arrays[name].astype(kind, copy=False) for name, kind in columns.items()}
            yield with_columns(kept, header, chunk.source)


def _first(path: Path) -> Trace:
    """Return a token of a trace, for its header and columns."""
    chunks = read_chunks(path, 1)
    first = next(chunks)
    chunks.close()  # type: ignore[attr-defined]
    return first


def _columns(paths: Sequence[Path], firsts: Sequence[Trace], *, common: bool) -> dict[str, Any]:
    """Return the columns that all traces have; of two floating types the wider one."""
    arrays = [arrays_of(first) for first in firsts]
    shared = [name for name in arrays[0] if all(name in other for other in arrays)]
    for path, columns in zip(paths, arrays, strict=True):
        extra = [name for name in columns if name not in shared]
        if extra and not common:
            raise InputError(
                str(path), f"has '{extra[0]}', and others have not", "leave it out with --common"
            )
    return {name: np.result_type(*(columns[name] for columns in arrays)) for name in shared}


def _header(paths: Sequence[Path], firsts: Sequence[Trace], *, weights: bool) -> TraceHeader:
    """Return the header of the whole. Errors: InputError naming the field that differs."""
    headers = [first.header for first in firsts]
    ours = headers[0]
    free = {*COMBINED, "synthetic", "notes", *(() if weights else ("weights",))}
    for path, header in zip(paths, headers, strict=True):
        for name in type(ours).model_fields:
            mine, theirs = getattr(header, name), getattr(ours, name)
            if name not in free and mine != theirs:
                what = f"{name} is {_brief(mine)}, and {_brief(theirs)} in {paths[0]}"
                raise InputError(str(path), what, "merge traces of one model, recorded alike")
    fields: dict[str, Any] = {name: _either([getattr(h, name) for h in headers]) for name in COMBINED}
    fields["synthetic"] = any(header.synthetic for header in headers)
    notes = " | ".join(dict.fromkeys(header.notes for header in headers if header.notes))
    fields["notes"] = noted(notes, "merged from " + ", ".join(map(described, paths)))
    return ours.model_copy(update=fields)


def _either(values: Sequence[str | None]) -> str | None:
    """Return all different values in one line, None where no trace says one."""
    if not any(values):
        return None
    return " | ".join(dict.fromkeys(value or "not stated" for value in values))


def _brief(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
