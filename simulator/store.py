"""The store: finished runs of an unfinished sweep, beside the folder that its results will have.

``NAME.partial/`` holds, for each finished run, ``HASH.TABLE.parquet`` and ``HASH.json`` (its row), under the
hash of all that decides them. The row is renamed into place last: a run without one is not believed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from simulator.errors import InputError
from simulator.results import TABLES, RunResult, partial_folder, unwritable

LOCK = "lock"


class Store:
    """Finished runs by their hash; ``complete`` is for its user to deny, where runs are missing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.complete = True

    def get(self, digest: str) -> RunResult | None:
        """Return a finished run's row; None if there is none, or none that can be read."""
        try:
            found = json.loads((self.folder / f"{digest}.json").read_text(encoding="utf-8"))
            there = all(path.exists() for path in self.tables(digest).values())
            return RunResult(**found) if there else None
        except (OSError, ValueError, TypeError):
            return None

    def tables(self, digest: str) -> dict[str, Path]:
        """Return the files of a run's tables by name."""
        return {name: self.folder / f"{digest}.{name}.parquet" for name in TABLES}

    def put(self, digest: str, result: RunResult, tables: Mapping[str, Any]) -> None:
        """Keep a finished run: its row, and its tables by name, each a ``pyarrow.Table``."""
        from pyarrow import parquet

        for name, path in self.tables(digest).items():
            self._write(path, partial(parquet.write_table, tables[name], compression="zstd"))
        text = json.dumps(asdict(result))
        self._write(self.folder / f"{digest}.json", lambda path: path.write_text(text, encoding="utf-8"))

    def _write(self, path: Path, write: Any) -> None:
        new = path.with_suffix(".new")
        write(new)
        with new.open("rb+") as file:
            os.fsync(file.fileno())
        new.replace(path)


@contextmanager
def open_store(out: Path, *, resume: bool, force: bool) -> Iterator[Store]:
    """Give the store of a sweep whose results will be in ``out``, for nobody else meanwhile.

    It is gone when the block ends well and it is complete, or when it holds no run; else it stays for
    ``resume``. ``force`` starts anew.
    Errors: InputError (an unfinished sweep, another that is running, nothing can be written).
    """
    from filelock import FileLock, Timeout

    folder = partial_folder(out)
    made = [parent for parent in folder.parents if not parent.exists()]
    lock = FileLock(folder / LOCK)
    try:
        if folder.exists() and not resume and not force:
            raise InputError(
                str(folder), "an unfinished sweep", "continue it with --resume, or start anew with --force"
            )
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout:
        raise InputError(
            str(folder), "another sweep is writing here", "wait for it, or use another --out"
        ) from None
    except OSError as error:
        raise unwritable(out, error) from error
    try:
        if force and not resume:
            _clear(folder)
        store = Store(folder)
        yield store
        if store.complete:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise unwritable(out, error) from error
    finally:
        lock.release()
        if folder.exists() and not any(folder.glob("*.json")):
            shutil.rmtree(folder, ignore_errors=True)
            for parent in made:
                if parent.is_dir() and not any(parent.iterdir()):
                    parent.rmdir()


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name != LOCK:
            path.unlink()
