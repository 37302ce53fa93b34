"""What a run folder says besides its tables: the manifest, and the resolved configuration of each run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.analysis.summary import HINT, need, read_summary
from simulator.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


MOST_VALUES = 100_000
"""What a resolved experiment may hold, as an experiment file may."""


@dataclass(frozen=True, slots=True)
class Config:
    """The resolved experiment of a run: its YAML, and its values by dotted key."""

    text: str
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Results:
    """A run folder; ``configs`` are in the order of the rows of ``summary``."""

    folder: Path
    summary: pd.DataFrame
    manifest: dict[str, Any]
    configs: list[Config]


def read_results(folder: Path) -> Results:
    """Return what a run folder holds. Errors: InputError where a file is missing or not of moesim."""
    summary = read_summary(folder)
    need(summary, ("run",), str(folder / "summary.csv"))
    configs = _configs(folder)
    if len(configs) != len(summary):
        what = f"holds {len(configs)} runs, and summary.csv {len(summary)}"
        raise InputError(str(folder / "config.resolved.yaml"), what, HINT)
    return Results(folder, summary, _manifest(folder), configs)


def _manifest(folder: Path) -> dict[str, Any]:
    where = str(folder / "manifest.json")
    try:
        found = json.loads(_text(folder, "manifest.json"))
    except (ValueError, RecursionError):
        raise InputError(where, "is no JSON", HINT) from None
    if not isinstance(found, dict) or "moesim_version" not in found:
        raise InputError(where, "is no manifest of moesim", HINT)
    return found


def _configs(folder: Path) -> list[Config]:
    """Return each document of config.resolved.yaml; only plain YAML is read, tags are refused."""
    import yaml

    where = str(folder / "config.resolved.yaml")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        documents = list(_plain(yaml.compose_all(_text(folder, "config.resolved.yaml"), loader), where))
        if not all(isinstance(document, dict) for document in documents):
            raise InputError(where, "holds more than resolved experiments", HINT)
        return [_config(document) for document in documents]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(where, f"is no YAML: {str(error).splitlines()[0]}", HINT) from None


def _plain(documents: Iterable[Any], where: str) -> Iterator[Any]:
    """Yield each document as plain data; an alias counts each time that it is used."""
    import yaml

    for root in documents:
        sizes: dict[int, int] = {}

        def size(node: Any, sizes: dict[int, int] = sizes) -> int:
            if id(node) not in sizes:
                sizes[id(node)] = MOST_VALUES + 1  # until it is known: an alias that contains itself
                inner = node.value if isinstance(node.value, list) else []
                parts = [part for item in inner for part in (item if isinstance(item, tuple) else (item,))]
                sizes[id(node)] = 1 + sum(map(size, parts))
            return sizes[id(node)]

        if root is not None and size(root) > MOST_VALUES:
            raise InputError(where, f"a run has more than {MOST_VALUES:,} values", "aliases count each time")
        yield yaml.SafeLoader("").construct_document(root) if root is not None else None


def _config(document: dict[str, Any]) -> Config:
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    how: dict[str, Any] = {"Dumper": dumper, "sort_keys": False, "allow_unicode": True, "width": 100}
    return Config(yaml.dump(document, **how), _flat(document))


def _flat(tree: dict[Any, Any], above: str = "") -> dict[str, Any]:
    """Return the leaves of a tree of mappings by dotted key; a named policy with its parameters is one."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value and "name" not in value:
            leaves |= _flat(value, f"{above}{key}.")
        else:
            leaves[f"{above}{key}"] = value
    return leaves


def _text(folder: Path, name: str) -> str:
    try:
        return (folder / name).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(str(folder), f"holds no {name}", HINT) from None
    except OSError as error:
        raise InputError(str(folder / name), f"cannot be read: {error.strerror}", HINT) from None
    except UnicodeDecodeError:
        raise InputError(str(folder / name), "is no text", HINT) from None
