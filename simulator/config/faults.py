"""A pydantic ValidationError in one line: the first fault, where it is, what would be right."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from simulator.errors import InputError, did_you_mean

Path_ = tuple[Any, ...]
LONGEST_VALUE = 60


def explain(
    error: ValidationError, model: type[BaseModel], where: str, data: object, lines: Mapping[Path_, int | str]
) -> InputError:
    """Return the InputError for the most telling fault: an unknown key before anything else."""
    faults = error.errors(include_url=False)
    first = next((f for f in faults if f["type"] == "extra_forbidden"), faults[0])
    loc = tuple(first["loc"])
    at = _place(loc, data)
    line = lines.get(at, "")
    line = f":{line}" if isinstance(line, int) else line
    if first["type"] == "missing":
        at = (*at, loc[-1])
    what, hint = _words(first, model, loc)
    if more := len({_place(tuple(f["loc"]), data) for f in faults}) - 1:
        hint = f"{hint} (and {more} more)".strip()
    key = ".".join(map(str, at))
    return InputError(f"{where}{line}" + (f": {key}" if key else ""), what, hint)


def _words(fault: Any, model: type[BaseModel], loc: Path_) -> tuple[str, str]:
    """Return what is wrong (with the value) and what is allowed."""
    kind, value = fault["type"], _short(fault["input"])
    if kind == "extra_forbidden":
        return "unknown key", did_you_mean(str(loc[-1]), _keys(model, loc[:-1]))
    if kind == "missing":
        return "missing key", ""
    if kind in ("model_type", "model_attributes_type"):
        return f"not a mapping ({value})", f"its keys: {', '.join(sorted(_keys(model, loc)))}"
    if kind in ("literal_error", "union_tag_invalid"):
        wrong, expected = fault["ctx"].get("tag", fault["input"]), fault["ctx"].get("expected", "")
        words = re.findall(r"'([^']*)'", expected or fault["ctx"]["expected_tags"])
        hint = did_you_mean(str(wrong), words) if words else f"allowed: {expected}"
        return f"not allowed ({wrong!r})", hint
    if kind == "value_error":
        what, _, hint = str(fault["ctx"]["error"]).partition("; ")
        return (what, hint) if isinstance(fault["input"], Mapping) else (f"{what} ({value})", hint)
    text = fault["msg"]
    hint = truth_hint(fault["input"]) if kind == "bool_type" else ""
    return f"{text[:1].lower()}{text[1:]} ({value})", hint


def truth_hint(value: object) -> str:
    """Return what to write where ``yes`` or ``off`` was, which YAML 1.2 takes for words."""
    word = str(value).lower()
    meant = "true" if word in {"yes", "on", "y"} else "false" if word in {"no", "off", "n"} else ""
    return f"write {meant}; YAML 1.2 takes {value} for a word" if meant else "write true or false"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def _place(loc: Path_, data: object) -> Path_:
    """Return the part of ``loc`` that is in the data (it also holds names of union members)."""
    at: Path_ = ()
    for step in loc:
        known = (
            step in data if isinstance(data, Mapping) else isinstance(data, list) and isinstance(step, int)
        )
        if known:
            data, at = data[step], (*at, step)  # type: ignore[index]
    return at


def _keys(model: type[BaseModel], loc: Path_) -> set[str]:
    """Return the keys that are allowed at ``loc``, following fields, lists, mappings and unions."""
    here = _models_and_containers(model)
    for step in loc:
        there: list[Any] = []
        for kind in here:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                if step in kind.model_fields:
                    there += _models_and_containers(kind.model_fields[step].annotation)
            elif get_args(kind):
                there += _models_and_containers([a for a in get_args(kind) if a is not Ellipsis][-1])
        here = there or here
    return {
        key
        for kind in here
        if isinstance(kind, type) and issubclass(kind, BaseModel)
        for key in kind.model_fields
    }


def _models_and_containers(annotation: Any) -> list[Any]:
    """Return the members of a union, without ``None`` and ``Annotated``."""
    if get_origin(annotation) in (Union, types.UnionType):
        return [kind for part in get_args(annotation) for kind in _models_and_containers(part)]
    if hasattr(annotation, "__metadata__"):
        return _models_and_containers(get_args(annotation)[0])
    return [annotation]
