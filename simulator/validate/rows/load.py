"""The files of rows: those of a kind that are shipped, or what ``--from`` names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from simulator import data
from simulator.config.paths import near, no_such_file
from simulator.config.yaml_file import Document, read_yaml
from simulator.errors import InputError, did_you_mean
from simulator.validate.rows.schema import Row, RowFile

Kind = Literal["measured", "published"]
KINDS: tuple[Kind, ...] = ("measured", "published")


@dataclass(frozen=True, slots=True)
class Sourced:
    """A row, the file that it stands in, and its number there."""

    row: Row
    file: RowFile
    document: Document
    index: int


def shipped(kind: Kind) -> Path:
    """Return the folder of the rows of a kind."""
    return data.folder("validation") / kind


def load_rows(path: Path, only: str | None = None) -> list[Sourced]:
    """Return the rows of a file, or of all files of a folder by their names; those whose id matches ``only``.

    Errors: InputError (no file, a fault in one, two rows of one id, no row that matches).
    """
    if not path.exists():
        raise no_such_file(path)
    files = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
    if not files:
        raise InputError(near(path), "no rows", "a .yaml file of rows, or a folder of them")
    rows = [row for file in files for row in _of_file(file)]
    _check_ids(rows)
    found = [one for one in rows if only is None or fnmatchcase(one.row.id, only)]
    if not found:
        hint = did_you_mean(str(only), [one.row.id for one in rows])
        raise InputError("--only", f"no row is called {only}", hint)
    return found


def _of_file(path: Path) -> list[Sourced]:
    document = read_yaml(path)
    file = document.validate(RowFile)
    return [Sourced(row, file, document, i) for i, row in enumerate(file.rows)]


def _check_ids(rows: Sequence[Sourced]) -> None:
    seen: dict[str, Sourced] = {}
    for one in rows:
        first = seen.setdefault(one.row.id, one)
        if first is not one:
            line = one.document.lines[("rows", one.index, "id")]
            where = f"{near(first.document.path)}:{first.document.lines[('rows', first.index, 'id')]}"
            raise InputError(f"{one.document.path}:{line}: {one.row.id}", "an id twice", f"first in {where}")
