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
from simulator.trace.footer import MOST_STRING, open_trace
from simulator.trace.header import HEADER_KEY
from simulator.trace.parts import n_bytes, take
from simulator.trace.seam import Seam
from simulator.trace.validate import validate
from simulator.whole import whole

GROUP_BYTES = 64 * 2**20
# A simulation needs all of a trace: this much is 7 million tokens of Qwen3-30B-A3B with weights.
MOST_BYTES = 16 * 2**30


class TraceWriter:
    """Write a trace chunk by chunk: ``with TraceWriter(path) as w: w.append(chunk)``.

    Each chunk is a Trace with the same header and columns, whose tokens follow those of the chunk
    before it; it becomes one row group, or several where it is large. The file takes its name when
    the block ends well; when it does not, nothing is left. Errors: InputError (invalid chunk, chunk
    that does not follow, no chunk at all, a folder that is not there).
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._whole = whole(self.path)
        self._writer: Any = None
        self._header: TraceHeader | None = None
        self._seam = Seam(str(self.path))

    def __enter__(self) -> Self:
        """Check that the target can be written."""
        if not self.path.parent.is_dir():
            raise InputError(str(self.path), "its folder does not exist", "create it, or choose another path")
        if not os.access(self.path.parent, os.W_OK):
            raise InputError(str(self.path), "its folder cannot be written", "choose another path")
        if self.path.is_dir():
            raise InputError(str(self.path), "is a folder", "name a file, such as trace.parquet")
        self._aside = self._whole.__enter__()
        return self

    def append(self, chunk: Trace) -> None:
        """Validate ``chunk`` and write it, in row groups of at most ``GROUP_BYTES`` of arrays."""
        validate(chunk)
        if self._header not in (None, chunk.header):
            raise InputError(
                str(self.path), "a chunk has another header than the first", "the same in all chunks"
            )
        self._header = chunk.header
        self._seam.check(chunk)
        step = max(GROUP_BYTES * chunk.n_tokens // n_bytes(chunk), 1)
        for start in range(0, chunk.n_tokens, step):
            self._write(to_table(take(chunk, slice(start, start + step))), chunk.header)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Move the finished file to its name, or remove what was written."""
        try:
            self._close(failed=kind is not None)
        except BaseException as fault:
            self._whole.__exit__(type(fault), fault, fault.__traceback__)
            raise
        self._whole.__exit__(kind, error, where)

    def _close(self, *, failed: bool) -> None:
        """Write the end of the file. Errors: InputError (nothing was written, and nothing else failed)."""
        if self._writer is not None:
            self._writer.close()
        elif not failed:
            raise InputError(str(self.path), "no tokens were recorded", "nothing was written")

    def _write(self, table: Any, header: TraceHeader) -> None:
        """Write a row group."""
        if self._writer is None:
            self._open(table.schema, header)
        elif not table.schema.equals(self._writer.schema.remove_metadata()):
            raise InputError(
                str(self.path), "a chunk has other columns than the first", "the same in all chunks"
            )
        self._writer.write_table(table, row_group_size=table.num_rows)

    def _open(self, schema: Any, header: TraceHeader) -> None:
        """Open the file for the columns of the first chunk."""
        import pyarrow.parquet as pq

        lists = [name for name in schema.names if name not in TOKEN_COLUMNS and name != "layer"]
        whole = [name for name in schema.names if name not in lists]
        rare = [f"{name}.list.element" for name in lists if name.startswith("recorded_")]
        split = [f"{name}.list.element" for name in lists if not name.startswith("recorded_")]
        said = header.model_dump_json().encode()
        if len(said) > MOST_STRING // 4:  # stored twice, once in base64 with the columns' names
            hint = f"at most {MOST_STRING // 4:,}: shorten its notes"
            raise InputError(str(self.path), f"a header of {len(said):,} bytes", hint)
        self._writer = pq.ParquetWriter(
            self._aside,
            schema.with_metadata({HEADER_KEY: said}),
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
    """Read and validate a whole trace.

    Errors: InputError (absent, truncated, foreign, contradictory, more than MOST_BYTES of arrays).
    """
    where = str(path)
    with open_trace(path) as opened:
        size = opened.n_tokens * opened.token_bytes
        if size > MOST_BYTES:
            hint = f"at most {MOST_BYTES:,} at once: cut it with moesim trace slice"
            raise InputError(where, f"takes {size:,} bytes in memory", hint)
        table = opened.file.read()
    trace = from_table(table, opened.header, where)
    validate(trace)
    return trace
