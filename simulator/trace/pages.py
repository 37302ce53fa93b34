"""The pages of a Parquet file, counted before any is decompressed.

A page says how many bytes and values it holds, and a reader allocates what it says: a file of
kilobytes can claim gigabytes, whatever its footer says. So the headers of all pages are read
first. Source of the numbers: Parquet format, parquet.thrift.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from simulator.errors import InputError
from simulator.trace.thrift import LIST, NOT_THRIFT, Compact

# A footer has about 200 bytes a column and row group: with ten columns, 32,000 row groups.
MOST_FOOTER = 64 * 2**20
# Usual writers end a page at 1 MiB, DuckDB at the end of its row group of 122,880 rows.
MOST_PAGE = 16 * 2**20
# A header has a few numbers, and the least and greatest value of the page where the writer counts them.
MOST_HEADER = 4096

HINT = "it may be damaged: write it again"
# Numbers of fields: of FileMetaData, RowGroup, ColumnChunk, ColumnMetaData, and PageHeader.
ROW_GROUPS = 4
COLUMNS, N_ROWS = 1, 3
META_DATA = 3
CHUNK_VALUES, FIRST_DATA_PAGE, DICTIONARY_PAGE = 5, 9, 11
KIND, UNCOMPRESSED, COMPRESSED, PAGE_VALUES = 1, 2, 3, 1
# Where a page of data, by its kind, is described: version 1 and 2.
DATA_HEADER = {0: 5, 3: 8}


def check_footer(path: Path, where: str) -> None:
    """Check how large the footer says it is: its length stands before the magic at the end."""
    with path.open("rb") as stream:
        if (length := _footer_bytes(stream)) > MOST_FOOTER:
            hint = f"at most {MOST_FOOTER:,}: write it again, with larger row groups"
            raise InputError(where, f"its footer claims {length:,} bytes", hint)


def check_pages(path: Path, widths: list[int], n_rows: int, where: str) -> None:
    """Check the row groups' pages, for columns of ``widths`` values a row.

    Errors: InputError (a page that claims more than MOST_PAGE bytes, more values than the rows have
    room for, row groups that have not ``n_rows`` together, what is no page).
    """
    rows = 0
    with path.open("rb") as stream:
        stream.seek(-8 - _footer_bytes(stream), 2)
        try:
            for group in _row_groups(Compact(stream.read())):
                rows += group[N_ROWS]
                for width, column in zip(widths, group[COLUMNS], strict=True):
                    _check_chunk(stream, column[META_DATA], group[N_ROWS] * width, where)
        except NOT_THRIFT as error:
            raise InputError(where, "its footer or a page header is damaged", HINT) from error
    if rows != n_rows:
        raise InputError(where, f"{n_rows} rows, {rows} in its row groups", HINT)


def _check_chunk(stream: BinaryIO, column: dict[int, Any], most_values: int, where: str) -> None:
    """Check the pages of one column in one row group: a dictionary, perhaps, and data."""
    left, offset = column[CHUNK_VALUES], column[FIRST_DATA_PAGE]
    if 0 < column.get(DICTIONARY_PAGE, 0) < offset:
        offset = column[DICTIONARY_PAGE]
    if left > most_values:
        raise InputError(where, f"a column claims {left} values where there are {most_values}", HINT)
    while left > 0:
        stream.seek(offset)
        reader = Compact(stream.read(MOST_HEADER))
        page = reader.struct()
        size, stored, described = page[UNCOMPRESSED], page[COMPRESSED], DATA_HEADER.get(page[KIND])
        if size > MOST_PAGE:
            hint = f"at most {MOST_PAGE:,}: write it again, with pages of 1 MiB"
            raise InputError(where, f"a page claims {size:,} bytes", hint)
        n_values = page[described][PAGE_VALUES] if described else 0
        if min(size, stored) < 0 or not bool(described) <= n_values <= left:
            raise InputError(where, f"a page claims {n_values} values of {left}", HINT)
        left -= n_values
        offset += reader.at + stored


def _row_groups(footer: Compact) -> Iterator[dict[int, Any]]:
    """Yield the row groups one by one: all of them at once would be many times the footer."""
    for number, kind in footer.fields():
        if (number, kind) == (ROW_GROUPS, LIST):
            for item in footer.items():
                yield footer.value(item)
        else:
            footer.value(kind)


def _footer_bytes(stream: BinaryIO) -> int:
    """Return the length of the footer, as the file's end says; 0 where that is no Parquet file's."""
    end = stream.seek(0, 2)
    stream.seek(max(end - 8, 0))
    tail = stream.read()
    return int.from_bytes(tail[:4], "little") if tail[4:] == b"PAR1" else 0
