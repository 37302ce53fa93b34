"""Strict YAML 1.2: one line that says file, line, key, value and what is allowed."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from simulator import data as data_folders
from simulator.config.faults import Path_, explain
from simulator.config.paths import is_path, no_such_file
from simulator.config.yaml_scalars import Dumper, Loader
from simulator.errors import InputError, did_you_mean
from simulator.files import check_source

M = TypeVar("M", bound=BaseModel)
MOST_VALUES = 100_000


@dataclass(frozen=True)
class Document:
    """A YAML file as plain data, with the line of every key and list entry by its path.

    A line of another file, which this one extends, is text that names that file.
    """

    path: Path
    data: dict[Any, Any]
    lines: Mapping[Path_, int | str] = field(default_factory=dict)

    def validate(self, model: type[M]) -> M:
        """Return the data as ``model``; raise InputError at the offending line."""
        return validate_mapping(self.data, model, str(self.path), self.lines)


class _Reader:
    """Builds plain data from YAML nodes and remembers lines; refuses duplicate keys."""

    def __init__(self, where: str, loader: Loader) -> None:
        self.where, self.loader = where, loader
        self.lines: dict[Path_, int] = {}
        self.open: set[int] = set()
        self.built = 0

    def refuse(self, node: yaml.Node, what: str, hint: str = "") -> InputError:
        return InputError(f"{self.where}:{node.start_mark.line + 1}", what, hint)

    def build(self, node: yaml.Node, at: Path_ = ()) -> Any:
        self.lines.setdefault(at, node.start_mark.line + 1)
        self.built += 1
        if self.built > MOST_VALUES:
            raise self.refuse(node, f"more than {MOST_VALUES:,} values", "aliases count each time")
        if isinstance(node, yaml.ScalarNode):
            return self.loader.construct_object(node, deep=True)
        if node.tag not in ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
            raise self.refuse(node, f"tag {node.tag}", "plain values, lists and mappings only")
        if id(node) in self.open:
            raise self.refuse(node, "an alias that contains itself")
        self.open.add(id(node))
        built: Any
        if isinstance(node, yaml.SequenceNode):
            built = [self.build(entry, (*at, i)) for i, entry in enumerate(node.value)]
        else:
            built = self.mapping(node, at)
        self.open.discard(id(node))
        return built

    def mapping(self, node: yaml.Node, at: Path_) -> dict[Any, Any]:
        built: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                raise self.refuse(key_node, "merge key '<<'", "spell the keys out")
            key = self.build(key_node, (*at, "<key>"))
            self.lines.pop((*at, "<key>"), None)
            where = ".".join(map(str, (*at, key)))
            if not isinstance(key, Hashable):
                raise self.refuse(key_node, "a key that is a list or a mapping", "keys are words")
            if key in built:
                raise self.refuse(
                    key_node, f"{where}: duplicate key", f"first on line {self.lines[(*at, key)]}"
                )
            self.lines[(*at, key)] = key_node.start_mark.line + 1
            built[key] = self.build(value_node, (*at, key))
        return built


def read_yaml(path: str | Path) -> Document:
    """Read one YAML mapping with the safe loader; InputError if it is missing or not well formed."""
    path = Path(path)
    check_source(path)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(str(path), f"cannot be read as text: {error}") from None
    built, lines = _parsed(text, str(path))
    built = {} if built is None else built
    if not isinstance(built, dict):
        raise InputError(f"{path}:1", "not a mapping", "the file holds 'key: value' lines")
    return Document(path, built, lines)


def parse_yaml(text: str, where: str) -> Any:
    """Return the one value that ``text`` holds, by the rules of a file. Errors: InputError at ``where``."""
    return _parsed(text, where)[0]


def _parsed(text: str, where: str) -> tuple[Any, dict[Path_, int]]:
    """Return what a text holds, and the lines of its keys and entries."""
    try:
        loader = Loader(text)
        reader = _Reader(where, loader)
        node = loader.get_single_node()
        return (None if node is None else reader.build(node)), reader.lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise InputError(f"{where}{line}", f"not valid YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(where, f"not valid YAML: {error}") from None
    except RecursionError:
        raise InputError(where, "nested too deeply", "flatten it") from None


def dump_yaml(data: Mapping[str, Any], width: int = 100) -> str:
    """Return plain data as YAML that ``read_yaml`` reads back the same."""
    text: str = yaml.dump(data, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=width)
    return text


def load_yaml(path: str | Path, model: type[M]) -> M:
    """Read ``path`` and validate it as ``model``; InputError with file and line."""
    return read_yaml(path).validate(model)


def validate_mapping(
    data: Mapping[Any, Any], model: type[M], where: str, lines: Mapping[Path_, int | str] | None = None
) -> M:
    """Return ``data`` as ``model``; ``where`` names its origin, ``lines`` its keys' lines if known."""
    try:
        return model.model_validate(dict(data))
    except ValidationError as error:
        raise explain(error, model, where, data, lines or {}) from None


def find_named(kind: data_folders.Kind, name_or_path: str) -> Path:
    """Return the file of a name in the data folder of ``kind``, or of a path; InputError if there is none."""
    if is_path(kind, name_or_path):
        path = Path(name_or_path).expanduser()
        if not path.exists():
            raise no_such_file(path)
        return path
    known = data_folders.names(kind)
    if name_or_path not in known:
        singular = {"hardware_profiles": "hardware profile", "software_profiles": "software profile"}.get(
            kind, kind.removesuffix("s")
        )
        raise InputError(
            name_or_path, f"unknown {singular}", f"{did_you_mean(name_or_path, known)} (or a path)"
        )
    return data_folders.folder(kind) / f"{name_or_path}{data_folders.SUFFIX[kind]}"
