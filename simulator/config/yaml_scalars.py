"""Scalars of YAML 1.2: what is a number, ``true``, ``null`` or a word is what its core schema says.

PyYAML follows YAML 1.1, to which 010 is 8, 1:30 is 90, yes is true, 2026-11-26 a date, and 5e9 a word.
Source: https://yaml.org/spec/1.2.2/#103-core-schema
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, NoReturn

import yaml

TAG = "tag:yaml.org,2002:"
NULL = re.compile(r"(~|null|Null|NULL|)$")
TRUTH = re.compile(r"(true|True|TRUE|false|False|FALSE)$")
WHOLE = re.compile(r"([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$")
DECIMAL = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
NO_NUMBER = re.compile(r"([-+]?(\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN)$")
RULES: tuple[tuple[str, re.Pattern[str], list[str]], ...] = (
    ("null", NULL, ["~", "n", "N", ""]),
    ("bool", TRUTH, list("tTfF")),
    ("int", WHOLE, list("-+0123456789")),
    ("float", DECIMAL, list("-+.0123456789")),
    ("float", NO_NUMBER, list("-+.")),
    ("merge", re.compile("<<$"), ["<"]),  # no scalar of YAML 1.2: known, so that it is refused
)


class Loader(yaml.SafeLoader):
    """The safe loader with the scalars of YAML 1.2, and with no others."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML has it so
    yaml_constructors: ClassVar[dict[str | None, Any]] = {}


class Dumper(yaml.SafeDumper):
    """Puts quotes around a word that YAML 1.1 or YAML 1.2 would take for something else."""


for kind, pattern, first in RULES:
    Loader.add_implicit_resolver(TAG + kind, pattern, first)
    Dumper.add_implicit_resolver(TAG + kind, pattern, first)


def _null(loader: yaml.SafeLoader, node: Any) -> None:
    loader.construct_scalar(node)


def _truth(loader: yaml.SafeLoader, node: Any) -> bool:
    text = str(loader.construct_scalar(node))
    if not TRUTH.match(text):
        raise ValueError(f"not true or false: {text[:40]!r}")
    return text.lower() == "true"


def _whole(loader: yaml.SafeLoader, node: Any) -> int:
    text = str(loader.construct_scalar(node))
    if not WHOLE.match(text):
        raise ValueError(f"not a whole number: {text[:40]!r}")
    return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


def _decimal(loader: yaml.SafeLoader, node: Any) -> float:
    text = str(loader.construct_scalar(node))
    if NO_NUMBER.match(text):
        text = text.replace(".", "")
    elif not DECIMAL.match(text):
        raise ValueError(f"not a number: {text[:40]!r}")
    return float(text)


def _word(loader: yaml.SafeLoader, node: Any) -> str:
    return str(loader.construct_scalar(node))


def _refused(loader: yaml.SafeLoader, node: Any) -> NoReturn:  # noqa: ARG001 - what PyYAML calls
    raise yaml.constructor.ConstructorError(None, None, f"tag {node.tag}", node.start_mark)


for kind, made in {"null": _null, "bool": _truth, "int": _whole, "float": _decimal, "str": _word}.items():
    Loader.add_constructor(TAG + kind, made)
Loader.add_constructor(None, _refused)
