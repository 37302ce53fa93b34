"""Files of records: JSON lines, a JSON array, CSV, TSV or Parquet, plain or gzipped, as rows by name."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simulator.errors import InputError
from simulator.trace.importers.limits import MOST_LINE, TEXT_EXPANSION, brief, check_file, check_size
from simulator.trace.importers.parquet_columns import names_of
from simulator.trace.importers.records import opened
from simulator.trace.importers.text import parse_json

ENDINGS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt", ".parquet", ".gz", ".log")
LISTS = ("records", "tokens", "routes", "data", "rows", "events", "trace", "routing")
"""Keys under which a JSON object has its records."""
META = {"meta", "metadata", "header", "config", "run", "info", "session", "model"}
Row = dict[str, Any]


@dataclass(slots=True)
class File:
    """A file's records, each with the place to blame; ``facts`` is what lines without records say.

    ``own`` are the names of columns that the user has said.
    """

    path: Path
    rows: list[Row] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    own: tuple[str, ...] = ()

    def names(self) -> list[str]:
        """Return the names of all columns, in order of appearance."""
        return list(dict.fromkeys(name for row in self.rows for name in row))


def read(path: Path, own: Iterable[str] = ()) -> File:
    """Return the records of a file. Errors: InputError (not one of these forms)."""
    if names_of(path):
        return _parquet(path)
    check_file(path, TEXT_EXPANSION)
    return parsed(path, _text(path), own)


def parsed(path: Path, text: str, own: Iterable[str] = ()) -> File:
    """Return the records of a text file. Errors: InputError (not one of these forms)."""
    found = File(path, own=tuple(own))
    start = text.lstrip("\ufeff \t\r\n")[:1]
    if start == "{":
        return _json_lines(found, text)
    if start == "[":
        return _array(found, parse_json(text, str(path)))
    return _csv(found, text)


def _text(path: Path) -> str:
    """Return a file's text, without a mark of its encoding. Errors: InputError (no text)."""
    data = path.read_bytes()
    if data.startswith(b"\x1f\x8b"):
        try:
            with gzip.open(io.BytesIO(data)) as file:
                data = file.read(2**30)
        except (OSError, EOFError) as error:
            raise InputError(str(path), f"no whole gzip file ({error})", "it may be truncated") from error
        check_size(str(path), len(data) * TEXT_EXPANSION)
    return text_of(path, data)


def text_of(path: Path, data: bytes, errors: str = "strict") -> str:
    """Return text, without a mark of its encoding: UTF-8, or UTF-16 by its mark. Errors: InputError."""
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        return data.decode(encoding, errors)
    except UnicodeDecodeError as error:
        raise InputError(
            str(path), f"no text in UTF-8 ({error.reason})", "JSON lines, CSV or Parquet"
        ) from error


def _json_lines(found: File, text: str) -> File:
    """Return the records of JSON lines, or of one object that has a list of them."""
    path = found.path
    texts = text.splitlines()
    filled = [number for number, line in enumerate(texts) if line.strip()]
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        whole = None
    if isinstance(whole, dict) and (len(filled) > 1 or _lists(whole)):
        return _object(found, whole)
    for number in filled:
        place = f"{path} line {number + 1}"
        _take(found, parse_json(texts[number].strip().removesuffix(","), place), place)
    return found


def beginning(path: Path, data: bytes) -> File:
    """Return the first records of what may be cut off anywhere. Errors: InputError (not these forms)."""
    text = text_of(path, data, errors="ignore")
    try:
        return parsed(path, text[: text.rindex("\n") + 1] if "\n" in text else text)
    except InputError:
        found = File(path)
        for match in re.finditer(r"\[\s*(?=\{)", text):
            with contextlib.suppress(ValueError, RecursionError):
                _take(found, json.JSONDecoder().raw_decode(text, match.end())[0], str(path))
        if found.rows:
            return found
        return parsed(path, text)


def _object(found: File, whole: Row) -> File:
    """Return the records in the one list of objects that a JSON object has; the rest are facts."""
    lists = _lists(whole) or [name for name, value in whole.items() if _is_list_of_objects(value)]
    if len(lists) != 1:
        raise InputError(
            str(found.path),
            "no list of records in this object",
            "a line, or an entry, for each token and layer",
        )
    _array(found, whole[lists[0]])
    found.facts = {name: value for name, value in _flat(whole).items() if name != lists[0]}
    return found


def _lists(whole: Row) -> list[str]:
    return [name for name in whole if name in LISTS and _is_list_of_objects(whole[name])]


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)


def _array(found: File, values: Any) -> File:
    path = found.path
    if not isinstance(values, list):
        raise InputError(str(path), "no list of records", "an object for each token and layer")
    for number, value in enumerate(values):
        _take(found, value, f"{path} entry {number}")
    return found


def _take(found: File, value: Any, place: str) -> None:
    """Take in the records of an object, or the facts of one that names no layer."""
    if not isinstance(value, dict):
        raise InputError(place, f"no object: {brief(value)}", "an object for each token and layer")
    kinds = {str(value.get(name, "")).lower() for name in ("type", "record_type", "event", "kind")}
    if kinds & META:
        found.facts |= _flat(value)
        return
    for one in opened.layers(value):
        row = _flat(one)
        if any(map(opened.is_layer, row)) or any(name in row for name in found.own):
            found.rows.append(row)
            found.places.append(place)
        else:
            found.facts |= row


def _flat(value: Row) -> Row:
    """Return an object with the keys of its inner objects, after a dot; objects by number are values."""
    row: Row = {}
    for name, one in value.items():
        if isinstance(one, dict) and one and not all(str(key).isdigit() for key in one):
            row |= {f"{name}.{key}": inner for key, inner in one.items()}
        else:
            row[name] = one
    return row


def _csv(found: File, text: str) -> File:
    """Return the rows of a CSV, below lines of facts that begin with ``#``."""
    path = found.path
    above = 0
    if max(map(len, text.splitlines()), default=0) > MOST_LINE:
        raise InputError(str(path), f"a line is longer than {MOST_LINE:,} letters", "not this format")
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            break
        above += 1
        key, equals, value = line.lstrip("# ").partition("=" if "=" in line else ":")
        if equals:
            found.facts[key.strip()] = value.strip()
    body = "\n".join(text.splitlines()[above:])
    first = body.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    if delimiter not in first:
        what = "one column" if first else "no lines"
        raise InputError(str(path), what, "a header with names, and a line for each token and layer")
    csv.field_size_limit(MOST_LINE)
    lines = csv.reader(io.StringIO(body), delimiter=delimiter, skipinitialspace=True)
    try:
        names = [name.strip() for name in next(lines)]
        _check_once(path, names)
        for cells in lines:
            if any(cell.strip() for cell in cells):
                place = f"{path} line {above + lines.line_num}"
                found.rows.append(_named(names, cells, place))
                found.places.append(place)
    except csv.Error as error:
        raise InputError(str(path), f"no CSV ({error})", "a line for each token and layer") from error
    return found


def _check_once(path: Path, names: list[str]) -> None:
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice:
        raise InputError(str(path), f"column '{brief(twice)}' twice", "each column once")


def _named(names: list[str], cells: list[str], place: str) -> Row:
    """Return a line's cells by name; the numbers of lines that pandas writes have none."""
    if len(cells) > len(names):
        cells = _joined(cells)
    while len(cells) > len(names) and not cells[-1].strip():
        cells.pop()  # a comma at the end
    if len(cells) != len(names):
        raise InputError(
            place,
            f"{len(cells)} cells",
            f"{len(names)}, as the header has; lists in quotes, and no line cut off",
        )
    return {name: cell for name, cell in zip(names, cells, strict=False) if name}


def _joined(cells: list[str]) -> list[str]:
    """Return cells of which those from ``[`` to ``]`` are one again: a list that stands without quotes."""
    found: list[str] = []
    for cell in cells:
        if found and found[-1].count("[") > found[-1].count("]"):
            found[-1] += f", {cell}"
        else:
            found.append(cell)
    return found


def _parquet(path: Path) -> File:
    import pyarrow as pa
    import pyarrow.parquet as pq

    check_file(path, 4)
    try:
        with pq.ParquetFile(path, pre_buffer=False, page_checksum_verification=True) as file:
            check_size(str(path), file.metadata.num_rows * len(file.schema_arrow.names) * 32)
            table = file.read()
    except (pa.ArrowException, OSError) as error:
        reason = brief(str(error).strip().split("\n")[0])
        raise InputError(str(path), f"not a whole Parquet file ({reason})", "it may be truncated") from error
    rows = [_flat(row) for row in table.to_pylist()]
    return File(path, rows, [f"{path} row {number}" for number in range(len(rows))])


def files_of(path: Path) -> Iterator[Path]:
    """Yield the file, or the files of a folder that may hold records, in natural order of their names."""
    if not path.is_dir():
        yield path
        return
    yield from sorted(
        (file for file in path.iterdir() if file.is_file() and file.name.lower().endswith(ENDINGS)),
        key=lambda file: [int(part) if part.isdigit() else part for part in _parts(file.name)],
    )


def _parts(name: str) -> list[str]:
    return re.split(r"([0-9]+)", name)
