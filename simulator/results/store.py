"""The store: finished runs of an unfinished sweep, beside the folder that its results will have.

``NAME.partial/`` holds, for each finished run, ``HASH.TABLE.parquet`` and ``HASH.json`` (its row), under the
hash of all that decides them. The row is renamed into place last, and holds the SHA-256 of the tables and its
own: what is half written, damaged, edited or another run's is not believed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from simulator.errors import InputError
from simulator.results.folder import file_sha256, workplace
from simulator.results.summary import RunResult
from simulator.results.tables import TABLES
from simulator.whole import whole


class Entries:
    """Plain data by hash, in a folder; an entry is whole, and what was put there, or it is none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, digest: str) -> Any:
        """Return an entry; None if there is none, or none that can be believed."""
        try:
            found = json.loads(self._path(digest).read_text(encoding="utf-8"))
            return found["entry"] if found["sha256"] == _signature(digest, found["entry"]) else None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def put(self, digest: str, entry: Any) -> None:
        """Keep an entry: what JSON can hold."""
        entry = json.loads(json.dumps(entry))
        text = json.dumps({"sha256": _signature(digest, entry), "entry": entry})
        with whole(self._path(digest)) as path:
            path.write_text(text, encoding="utf-8")

    def remove(self, digests: Container[str] | None = None) -> None:
        """Forget entries, or everything; entries first, then the files that they speak of."""
        files = [path for path in self.folder.glob("*.*") if digests is None or _digest(path) in digests]
        for path in sorted(files, key=lambda path: path.suffix != ".json"):
            path.unlink()

    def digests(self) -> set[str]:
        """Return the hashes of all entries, believed or not."""
        return {_digest(path) for path in self.folder.glob("*.json")}

    def _path(self, digest: str) -> Path:
        return self.folder / f"{digest}.json"


class Store:
    """Finished runs by their hash; ``complete`` is for its user to deny, where runs are missing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries = Entries(folder)
        self.complete = True

    def get(self, digest: str) -> RunResult | None:
        """Return a finished run's row; None if there is none, or none that can be believed."""
        found = self.entries.get(digest)
        try:
            whole = found is not None and found["tables"] == self._sums(digest)
            return RunResult(**found["row"]) if whole else None
        except (OSError, KeyError, TypeError):
            return None

    def tables(self, digest: str) -> dict[str, Path]:
        """Return the files of a run's tables by name."""
        return {name: self.folder / f"{digest}.{name}.parquet" for name in TABLES}

    def put(self, digest: str, result: RunResult, tables: Mapping[str, Any]) -> None:
        """Keep a finished run: its row, and its tables by name, each a ``pyarrow.Table``."""
        from pyarrow import parquet

        for name, path in self.tables(digest).items():
            with whole(path) as new:
                parquet.write_table(tables[name], new, compression="zstd")
        self.entries.put(digest, {"row": asdict(result), "tables": self._sums(digest)})

    def _sums(self, digest: str) -> dict[str, str]:
        return {name: file_sha256(path) for name, path in self.tables(digest).items()}


def _digest(path: Path) -> str:
    return path.name.lstrip(".").partition(".")[0]


def _signature(digest: str, entry: Any) -> str:
    return hashlib.sha256(json.dumps([digest, entry]).encode()).hexdigest()


@contextmanager
def open_store(out: Path, *, resume: bool, force: bool) -> Iterator[Store]:
    """Give the store of a sweep whose results will be in ``out``, for nobody else meanwhile.

    It is gone when the block ends well and it is complete, or when it holds no run; else it stays for
    ``resume``. ``force`` starts anew.
    Errors: InputError (an unfinished sweep, another that is running, nothing can be written).
    """
    with workplace(out) as folder:
        store = Store(folder)
        if store.entries.digests() and not resume:
            if not force:
                raise InputError(
                    str(folder),
                    "an unfinished sweep",
                    "continue it with --resume, or start anew with --force",
                )
            store.entries.remove()
        try:
            yield store
        except BaseException:
            store.complete = False
            raise
        finally:
            if store.complete or not store.entries.digests():
                store.entries.remove()
