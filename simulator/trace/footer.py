"""Open a Parquet trace: whatever can be known without decompressing a page is checked first."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simulator.errors import InputError
from simulator.files import check_source
from simulator.trace.columns import TOKEN_COLUMNS, check_columns
from simulator.trace.core import TraceHeader
from simulator.trace.header import read_header
from simulator.trace.pages import check_footer, check_pages
from simulator.trace.shapes import check_header

# Of the footer's strings one is the header, in JSON; 100 layers take 3 kB.
MOST_STRING = 2**20
# One token in memory, the least that is read at once: 94 layers and k 8 take 40 kB with all columns.
MOST_TOKEN = 2**20
# Row groups, or columns of one.
MOST_GROUPS = 100_000


@dataclass(frozen=True, slots=True)
class OpenTrace:
    """A trace whose pages are still to be read: the ``pyarrow`` file, its header and sizes."""

    file: Any
    header: TraceHeader
    n_tokens: int
    token_bytes: int


@contextmanager
def open_trace(path: str | os.PathLike[str]) -> Iterator[OpenTrace]:
    """Open a trace and check header, columns and pages; within the block, damage is an InputError.

    Memory is bounded whatever the file claims. Errors: InputError (absent, truncated, foreign).
    """
    where = str(path)
    with _parquet(path) as file:
        header = read_header(file.schema_arrow.metadata or {}, where)
        check_header(header, where)
        check_columns(file.schema_arrow, header, where)
        n_tokens, rest = divmod(file.metadata.num_rows, header.n_layers)
        if rest:
            hint = f"a whole number of tokens of {header.n_layers} MoE layers each"
            raise InputError(where, f"{file.metadata.num_rows} rows", hint)
        if n_tokens < 1:
            raise InputError(where, "no tokens", "a trace has at least one")
        token_bytes = _token_bytes(file.schema_arrow, header)
        if token_bytes > MOST_TOKEN:
            raise InputError(where, f"a token takes {token_bytes:,} bytes", f"at most {MOST_TOKEN:,}")
        widths = [getattr(field.type, "list_size", 1) for field in file.schema_arrow]
        check_pages(Path(path), widths, file.metadata.num_rows, where)
        yield OpenTrace(file, header, n_tokens, token_bytes)


def read_trace_header(path: str | os.PathLike[str]) -> TraceHeader:
    """Read what a trace says of itself, without its rows. Errors: InputError (absent, foreign)."""
    with _parquet(path) as file:
        return read_header(file.schema_arrow.metadata or {}, str(path))


@contextmanager
def _parquet(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Open a Parquet file for streaming, its footer bounded; ``pyarrow``'s errors become InputError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    where = str(path)
    check_source(Path(path), "give a .parquet trace, or import one: moesim trace import")
    try:
        check_footer(Path(path), where)
        with pq.ParquetFile(
            path,
            pre_buffer=False,
            buffer_size=2**16,
            thrift_string_size_limit=MOST_STRING,
            thrift_container_size_limit=MOST_GROUPS,
            page_checksum_verification=True,
        ) as file:
            yield file
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno:  # of the system, not of what the file holds
            raise InputError(where, f"cannot be read: {error.strerror}") from error
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise InputError(
            where, f"not a whole Parquet file ({reason[:200]})", "it may be truncated: write it again"
        ) from error


def _token_bytes(schema: Any, header: TraceHeader) -> int:
    """Return what a token takes in memory: ids become int16, a token's own values are kept once."""
    own = sum(np.dtype(kind).itemsize for name, kind in TOKEN_COLUMNS.items() if name in schema.names)
    lists = [field.type for field in schema if hasattr(field.type, "list_size")]
    row = sum(kind.list_size * max(kind.value_type.byte_width, 2) for kind in lists)
    return int(own + header.n_layers * row)
