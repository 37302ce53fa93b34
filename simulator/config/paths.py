"""Paths: one that a file says is relative to that file, one of the command line to the working folder.

An experiment says them under a few keys, in its sweep and its search too. As soon as a file is read, or a
``--set`` split, they are made absolute; tables and hashes have only their names, so that neither depends on
where a folder lies.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Any

from simulator import data
from simulator.errors import InputError

KINDS: dict[str, data.Kind] = {
    "model": "models",
    "hardware": "hardware_profiles",
    "software": "software_profiles",
    "trace": "traces",
    "training_trace": "traces",
}
"""Keys of an experiment that hold a name or a path, with the folder that the names are of."""
HOLD_KEYS = {("sweep", part) for part in ("grid", "grids", "zip", "list", "exclude")} | {
    ("tune", "parameters")
}
"""Sections whose keys are dotted keys of an experiment."""
Key = tuple[str, ...]


def is_path(kind: data.Kind, text: str) -> bool:
    """Return whether a text names a file of ``kind`` by its path, and not by its name."""
    endings = (data.SUFFIX[kind], ".yml", *((".json", ".gguf") if kind == "models" else ()))
    return "/" in text or "\\" in text or text.endswith(endings)


def each_path(value: Any, change: Callable[[str], str], key: Key = ()) -> Any:
    """Return a part of an experiment, as plain data, with its paths changed; ``key`` is where it lies."""
    if isinstance(value, dict):
        return {name: each_path(one, change, _below(key, str(name))) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [each_path(one, change, key) for one in value]
    if not isinstance(value, str):
        return value
    if key[:1] == ("policies",) and len(key) in (2, 3):
        file, colon, name = value.rpartition(":")
        named = len(key) == 2 or key[2] in ("name", "choices")
        return f"{change(file)}:{name}" if named and colon and file.endswith(".py") else value
    kind = KINDS.get(key[0]) if key and key[1:] in ((), ("choices",)) else None
    return change(value) if kind is not None and is_path(kind, value) else value


def _below(key: Key, name: str) -> Key:
    return tuple(name.split(".")) if key in HOLD_KEYS else (*key, name)


def key_of(dotted: str) -> Key:
    """Return the key that ``each_path`` takes for a dotted one, such as ``sweep.grid.trace``."""
    key: Key = ()
    for part in dotted.split("."):
        key = _below(key, part)
    return key


def anchored(value: Any, folder: Path, key: Key = ()) -> Any:
    """Return data with its paths made absolute: they are relative to ``folder``."""

    def change(text: str) -> str:
        path = Path(text)
        with suppress(RuntimeError):  # of a user who is not there
            path = path.expanduser()
        return str(folder.absolute() / path)

    return each_path(value, change, key)


def relative_to(value: Any, folder: Path, key: Key = ()) -> Any:
    """Return data with its paths made relative to ``folder``, as a file in it says them."""

    def change(text: str) -> str:
        path = Path(text)
        there = os.path.relpath(path.parent.resolve() / path.name, folder.resolve())
        return there if "/" in there else f"./{there}"

    return each_path(value, change, key)


def shown(value: Any, key: Key = ()) -> Any:
    """Return data with the names of files in place of their paths."""
    return each_path(value, lambda text: PurePath(text).name, key)


def short_names(paths: Iterable[str]) -> dict[str, str]:
    """Return for each path its name, with as many folders before it as tell it from the others."""
    parts = {path: PurePath(os.path.normpath(path)).parts for path in paths}

    def name(path: str) -> str:
        mine = parts[path]
        others = [other for other in parts.values() if other != mine]
        n = next((n for n in range(1, len(mine)) if all(o[-n:] != mine[-n:] for o in others)), len(mine))
        return str(PurePath(*mine[-n:]))

    return {path: name(path) for path in parts}


def short_paths(value: Any, others: Any, key: Key = ()) -> Any:
    """Return data with its paths shortened to what tells them from those of ``others``, a part alike."""
    found: list[str] = []

    def collect(text: str) -> str:
        found.append(text)
        return text

    each_path(others, collect, key)
    return each_path(value, short_names(found).__getitem__, key)


def near(path: str | Path) -> str:
    """Return a path as a message says it: from the working folder, where it lies below that."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except (OSError, ValueError):
        return str(path)


def no_such_file(path: str | Path) -> InputError:
    """Return what to say of a path that is not there; it may be meant from the working folder."""
    parts = Path(path).parts
    ends = (Path(*parts[n:]) for n in range(1, len(parts)))
    meant = next((end for end in ends if end.exists()), None) if Path(path).is_absolute() else None
    hint = f"{meant} is in the working folder, but a path in a file is relative to that file" if meant else ""
    return InputError(near(path), "no such file", hint)
