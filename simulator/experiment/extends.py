"""``extends: base.yaml``: an experiment that says only what it has different."""

from __future__ import annotations

from typing import Any

from simulator.config.faults import Path_
from simulator.config.paths import anchored, is_path, no_such_file
from simulator.config.yaml_file import Document, find_named, read_yaml
from simulator.errors import InputError

KEY = "extends"


def inherit(document: Document) -> Document:
    """Return a document laid over those that it extends: mappings key by key, all else replaced.

    An empty value takes the base's key away; where the base has none, it is what it is in any file. The base
    is a path relative to the document, or a name of ``list experiments``; the paths that either says are
    made absolute.
    Errors: InputError (no such base, documents that extend each other).
    """
    chain = [document]
    while KEY in chain[-1].data:
        line = chain[-1].lines.get((KEY,))  # none, where Python gave a mapping
        place = f"{chain[-1].path}{f':{line}' if line else ''}: {KEY}"
        base = _base(chain[-1], place)
        if base.path.resolve() in [one.path.resolve() for one in chain]:
            raise InputError(place, f"{base.path} extends this file in turn", "leave one of them out")
        chain.append(base)
    data: dict[Any, Any] = {}
    lines: dict[Path_, int | str] = {}
    for one in reversed(chain):
        own = {key: value for key, value in one.data.items() if key != KEY}
        own = anchored(own, one.path.parent)
        data = _over(data, own) if data else own
        lines |= {
            at: line if one is document else f" (in {one.path}:{line})" for at, line in one.lines.items()
        }
    return Document(document.path, data, lines)


def _base(document: Document, place: str) -> Document:
    name = document.data[KEY]
    if not isinstance(name, str) or not name:
        raise InputError(place, f"not a file name ({name!r})", "such as base.yaml, beside this file")
    if is_path("experiments", name):
        beside = document.path.parent / name
        if beside.exists():
            return read_yaml(beside)
        error = no_such_file(beside.absolute())
        raise InputError(place, f"{name}: {error.what}", error.hint)
    try:
        return read_yaml(find_named("experiments", name))
    except InputError as error:
        if error.where != name:
            raise
        raise InputError(place, f"{name}: {error.what}", error.hint) from None


def _over(under: dict[Any, Any], data: dict[Any, Any]) -> dict[Any, Any]:
    merged = dict(under)
    for key, value in data.items():
        below = under.get(key)
        merged[key] = _over(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
        if value is None and key in under:
            del merged[key]
    return merged
