"""Folders of results: written whole or not at all, by one command at a time, and only over what moesim wrote.

While a command works it holds ``NAME.partial/`` beside the folder ``NAME``: ``lock``, finished runs (see
``results.store``), ``new/`` (the folder that is being written) and, for a moment, ``old/`` (the one that it
replaces).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from simulator import files
from simulator.errors import InputError

MANIFEST = "manifest.json"
LOCK, NEW, OLD = "lock", "new", "old"
ENTRY = re.compile(r"[0-9a-f]{64}(\.[a-z]+)?\.(json|parquet)|\.[0-9a-f]{64}\.\S+\.partial")
"""What else lies in ``NAME.partial/``."""
FIGURES = (
    "tokens-per-second", "hit-rate", "latency-breakdown", "speed-up", "latency-cdf", "miss-penalty",
    "prefetch-quality", "utilisation", "residency", "popularity", "pareto", "sensitivity", "ablation",
    "algorithm-and-code",
)  # fmt: skip
ADDED = re.compile(rf"report\.html|figures/({'|'.join(FIGURES)})(-talk|-notebook)?\.(pdf|png|svg|csv)")
"""What ``moesim report`` and ``moesim plot`` add to a folder; all else of moesim's is in its manifest."""


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a folder of results; {} where it has none that can be read."""
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def intact(folder: Path, names: Iterable[str]) -> bool:
    """Return whether files of a folder are what its manifest says was written."""
    written = read_manifest(folder).get("files")
    try:
        return isinstance(written, dict) and all(
            written.get(name) == file_sha256(folder / name) for name in names
        )
    except OSError:
        return False


def check_output(out: Path, digest: str, *, force: bool) -> None:
    """Refuse an output folder that holds something else; the same experiment's results may be made again."""
    try:
        if not out.exists():
            return
        if not out.is_dir():
            raise InputError(str(out), "is a file", "name a folder with --out")
        if not any(out.iterdir()):
            return
    except (OSError, ValueError) as error:
        raise unwritable(out, error) from None
    other = read_manifest(out).get("config_sha256")
    if other is None:
        raise InputError(
            str(out), "holds files that are no results of moesim", "name another folder with --out"
        )
    if other != digest and not force:
        kept = partial_folder(out).exists()
        raise InputError(
            str(out),
            "holds the results of another run, or of other inputs",
            "name another folder with --out, or replace them with "
            + ("--resume --force, which keeps the runs that are finished" if kept else "--force"),
        )


def partial_folder(out: Path) -> Path:
    """Return where the finished runs of an unfinished sweep are."""
    return out.resolve().with_name(f"{out.resolve().name}.partial")


@contextmanager
def workplace(out: Path) -> Iterator[Path]:
    """Give ``NAME.partial/`` for nobody else meanwhile; it is gone afterwards where nothing is kept in it.

    What a killed command left half done is put right first. An OSError in the block (a full disk, say)
    becomes an InputError. Errors: InputError (another command works here, files that moesim did not write).
    """
    from filelock import FileLock, Timeout

    folder = partial_folder(out)
    made = [parent for parent in folder.parents if not parent.exists()]
    lock = FileLock(folder / LOCK)
    try:
        _check_ours(folder)
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout:
        raise _busy(folder) from None
    except OSError as error:
        raise unwritable(out, error) from error
    if not (folder / LOCK).exists():  # who held it took the folder away as we came
        lock.release()
        raise _busy(folder)
    try:
        _recover(out.resolve(), folder)
        yield folder
    except OSError as error:
        raise unwritable(out, error) from error
    finally:
        if folder.exists() and {path.name for path in folder.iterdir()} <= {LOCK}:
            shutil.rmtree(folder, ignore_errors=True)
        lock.release()
        if folder.exists():
            (folder / LOCK).touch()  # some versions of filelock take it away, and it marks the folder
        for parent in made:
            with suppress(OSError):  # not empty: the results are in it
                parent.rmdir()


def _busy(folder: Path) -> InputError:
    return InputError(str(folder), "another sweep is writing here", "wait for it, or use another --out")


def _check_ours(folder: Path) -> None:
    """Refuse a ``NAME.partial`` that is not moesim's, or holds what moesim did not put there."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise InputError(str(folder), "is no folder of moesim's", "move it away, or use another --out")
    there = sorted(folder.iterdir()) if folder.exists() else []
    foreign = [path.name for path in there if not _is_ours(path)]
    if foreign:
        fault = f"holds what moesim did not write ({foreign[0]})"
        raise InputError(str(folder), fault, "move it away, or use another --out")
    if there and not (folder / LOCK).exists():
        raise InputError(str(folder), "is no folder of moesim's: it has no lock", "move it away")


def _is_ours(path: Path) -> bool:
    if path.is_symlink():
        return False
    if path.name in {NEW, OLD}:
        return path.is_dir()
    if not path.exists():  # of a command at work, which has just renamed it
        return True
    if path.name == LOCK:  # empty, or where the file system has no locks the number of a process
        return path.is_file() and re.match(rb"\d+\n|$", path.read_bytes()[:20]) is not None
    return path.is_file() and ENTRY.fullmatch(path.name) is not None


def _recover(place: Path, folder: Path) -> None:
    """Put right what a command that was killed left: a folder half written, or half replaced.

    Errors: InputError (a new folder was made where the old one was to come back).
    """
    new, old = folder / NEW, folder / OLD
    if old.exists():
        if not place.exists():
            old.rename(place)
        elif new.exists():
            raise InputError(str(old), f"these are the results that were in {place.name}", "move them away")
        else:
            _finish(old, place, _dropped(old, place))
    if new.exists():
        shutil.rmtree(new)


@contextmanager
def fresh_folder(out: Path, within: Path | None = None) -> Iterator[Path]:
    """Give a folder that takes the place of ``out`` when the block ends well, else is removed.

    It lies in the ``workplace``, ``within`` where its user holds it already, so that taking its place is a
    rename. Files of others stay in ``out``, as do moesim's own that the new folder lacks where both have the
    same results (figures that were drawn later, say). The manifest of the new folder comes to list its files.
    Errors: InputError, which speaks of ``out``; an OSError in the block (a full disk, say) becomes one.
    """
    if within is None:
        with workplace(out) as folder, fresh_folder(out, folder) as fresh:
            yield fresh
        return
    place = out.resolve()
    fresh, old = within / NEW, within / OLD
    try:
        fresh.mkdir()
        yield fresh
        _sign(fresh)
        dropped: set[str] = set()
        if place.exists():
            _check_replaceable(place, fresh)
            dropped = _dropped(place, fresh)
            _take_over(place, fresh, dropped)
        try:
            if place.exists():
                place.rename(old)
            fresh.rename(place)
        except BaseException:
            if old.exists() and not place.exists():
                old.rename(place)
            raise
        if old.exists():
            _finish(old, place, dropped)
    except InputError as error:
        if str(fresh) not in str(error):
            raise
        said = [text.replace(str(fresh), str(out)) for text in (error.where, error.what, error.hint)]
        raise InputError(*said) from error
    except OSError as error:
        raise unwritable(out, error) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _sign(folder: Path) -> None:
    """List the files of a new folder, with their SHA-256, in its manifest."""
    manifest = read_manifest(folder)
    manifest["files"] = {name: file_sha256(folder / name) for name in _files(folder) if name != MANIFEST}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _files(folder: Path) -> list[str]:
    """Return the files below a folder, links to whatever among them, by their paths in it."""
    found = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted(path.relative_to(folder).as_posix() for path in found)


def _ours(old: Path, new: Path) -> set[str]:
    """Return moesim's files in a folder of results; those of ``new`` count where no list is there."""
    listed = read_manifest(old).get("files")
    written = listed if isinstance(listed, dict) else _files(new)
    return {MANIFEST, *written} | {name for name in _files(old) if ADDED.fullmatch(name)}


def _check_replaceable(old: Path, new: Path) -> None:
    """Refuse to replace what is not moesim's: a file, or a folder or link where moesim has a file."""
    ours = _ours(old, new)
    for name in _files(new):
        path = old / name
        above = next((up for up in path.parents if up != old and (up.is_symlink() or up.is_file())), None)
        there = path.is_symlink() or path.exists()
        if above is None and there and (name not in ours or not path.is_file()):
            above = path
        if above is not None and old in above.parents:
            fault = f"holds {above.relative_to(old)}, which moesim did not write and would replace"
            raise InputError(str(new), fault, "move it away")


def _dropped(old: Path, new: Path) -> set[str]:
    """Return moesim's files in a folder that mean nothing beside the results of the other."""
    same = read_manifest(old).get("config_sha256") == read_manifest(new).get("config_sha256")
    return set() if same else _ours(old, new)


def _finish(old: Path, place: Path, dropped: AbstractSet[str]) -> None:
    """Remove a folder that was replaced; what somebody put into it meanwhile goes to the new one."""
    _take_over(old, place, dropped)
    shutil.rmtree(old)


def _take_over(old: Path, new: Path, dropped: AbstractSet[str], below: str = "") -> None:
    """Link into ``new`` what it lacks of ``old``, which stays as it is; copies where there are no links."""
    for path in sorted(old.iterdir()):
        name, own = f"{below}{path.name}", new / path.name
        if path.is_dir() and not path.is_symlink():
            if not own.exists():
                own.mkdir()
                shutil.copystat(path, own)
            _take_over(path, own, dropped, f"{name}/")
            if any(path.iterdir()) and not any(own.iterdir()):  # all that it held was dropped
                own.rmdir()
        elif name not in dropped and not own.exists() and not own.is_symlink():
            _link(path, own)


def _link(path: Path, own: Path) -> None:
    try:
        os.link(path, own, follow_symlinks=False)
    except (OSError, NotImplementedError):
        shutil.copy2(path, own, follow_symlinks=False)


def unwritable(out: Path, error: Exception) -> InputError:
    """Return what to say where results cannot be written."""
    return files.unwritable(out, error, "name another folder with --out")
