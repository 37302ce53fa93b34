"""Traces on disk: one Parquet file, the header as JSON in its metadata.

The same trace and pyarrow version give the same bytes. Lists are split into byte streams before
zstd, which takes a third off both ids and weights; pages carry checksums. A file appears under
its name only when it is whole.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from simulator.errors import InputError
from simulator.trace.columns import TOKEN_COLUMNS, from_table, to_table
from simulator.trace.core import Trace, TraceHeader
from simulator.trace.header import HEADER_KEY, read_header
from simulator.trace.validate import validate


class TraceWriter:
    """Write a trace chunk by chunk: ``with TraceWriter(path) as w: w.append(chunk)``.

    Each chunk is a Trace with the same header and columns, whose tokens follow those of the chunk
    before it; it becomes one row group. The file takes its name when the block ends well; when it
    does not, nothing is left. Errors: InputError (invalid chunk, chunk that does not follow, no
    chunk at all, a folder that is not there).
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._partial = self.path.with_name(f".{self.path.name}.{os.getpid()}.partial")
        self._writer: Any = None
        self._header: TraceHeader | None = None
        self._last: tuple[int, int, int] | None = None

    def __enter__(self) -> Self:
        """Check that the target can be written."""
        if not self.path.parent.is_dir():
            raise InputError(str(self.path), "its folder does not exist", "create it, or choose another path")
        if not os.access(self.path.parent, os.W_OK):
            raise InputError(str(self.path), "its folder cannot be written", "choose another path")
        if self.path.is_dir():
            raise InputError(str(self.path), "is a folder", "name a file, such as trace.parquet")
        return self

    def append(self, chunk: Trace) -> None:
        """Validate ``chunk`` and write it as one row group."""
        validate(chunk)
        self._check_follows(chunk)
        table = to_table(chunk)
        if self._writer is None:
            self._open(table.schema, chunk.header)
        elif not table.schema.equals(self._writer.schema.remove_metadata()):
            raise InputError(
                str(self.path), "a chunk has other columns than the first", "the same in all chunks"
            )
        self._writer.write_table(table, row_group_size=table.num_rows)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Move the finished file to its name, or remove what was written."""
        try:
            if self._writer is not None:
                self._writer.close()
            elif kind is None:
                raise InputError(str(self.path), "no tokens were recorded", "nothing was written")
            if kind is None:
                self._partial.replace(self.path)
        finally:
            self._partial.unlink(missing_ok=True)

    def _check_follows(self, chunk: Trace) -> None:
        """Check the seam between the last chunk and this one."""
        if self._header not in (None, chunk.header):
            raise InputError(
                str(self.path), "a chunk has another header than the first", "the same in all chunks"
            )
        first, last = ((int(chunk.sequence[i]), int(chunk.phase[i]), int(chunk.position[i])) for i in (0, -1))
        if self._last is not None:
            (sequence, phase, position), before = first, self._last
            if sequence < before[0] or (
                sequence == before[0] and (phase < before[1] or position <= before[2])
            ):
                place = f"sequence {sequence} position {position}"
                raise InputError(str(self.path), f"{place} does not follow the last chunk", "append in order")
        self._header, self._last = chunk.header, last

    def _open(self, schema: Any, header: TraceHeader) -> None:
        """Open the partial file for the columns of the first chunk."""
        import pyarrow.parquet as pq

        lists = [name for name in schema.names if name not in TOKEN_COLUMNS and name != "layer"]
        whole = [name for name in schema.names if name not in lists]
        rare = [f"{name}.list.element" for name in lists if name.startswith("recorded_")]
        split = [f"{name}.list.element" for name in lists if not name.startswith("recorded_")]
        self._writer = pq.ParquetWriter(
            self._partial,
            schema.with_metadata({HEADER_KEY: header.model_dump_json().encode()}),
            compression="zstd",
            compression_level=9,
            use_dictionary=whole + rare,
            column_encoding=dict.fromkeys(split, "BYTE_STREAM_SPLIT"),
            write_page_checksum=True,
        )


def write_trace(trace: Trace, path: str | os.PathLike[str]) -> None:
    """Write ``trace`` to ``path`` at once. Errors: as TraceWriter."""
    with TraceWriter(path) as writer:
        writer.append(trace)


def read_trace(path: str | os.PathLike[str]) -> Trace:
    """Read and validate a trace. Errors: InputError (absent, truncated, foreign, contradictory)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    where = str(path)
    if not Path(path).is_file():
        raise InputError(where, "no such file", "give a .parquet trace, or import one: moesim trace import")
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            header = read_header(file.schema_arrow.metadata or {}, where)
            table = file.read()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise InputError(
            where, f"not a whole Parquet file ({reason})", "it may be truncated: write it again"
        ) from error
    trace = from_table(table, header, where)
    validate(trace)
    return trace


def read_trace_header(path: str | os.PathLike[str]) -> TraceHeader:
    """Read what a trace says of itself, without its rows. Errors: InputError (absent, foreign)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return read_header(pq.read_schema(path).metadata or {}, str(path))
    except (pa.ArrowException, OSError) as error:
        raise InputError(str(path), "not a whole Parquet file") from error
