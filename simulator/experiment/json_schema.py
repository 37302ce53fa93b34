"""The JSON Schema of a file, for editors: what one file may hold, as far as JSON Schema can say.

It is the schema of the pydantic model, and for an experiment or a software profile also what comes before
that model: a file that ``extends`` another holds parts of it, in which null takes the base's key away; and
what an experiment needs may be left to its sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pydantic import BaseModel, GetJsonSchemaHandler
from pydantic.json_schema import models_json_schema

from simulator.experiment.extends import KEY

Schema = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
MAPPING = {"type", "title", "description", "properties", "additionalProperties", "propertyNames"}
LEFT_TO_SWEEPS = ("model", "hardware", "trace")
REF = "#/$defs/"
PART = "PartOf"


def file_schema(*models: type[BaseModel]) -> Schema:
    """Return the schema of a file that holds one of ``models``, which no other file extends."""
    return {"$schema": DIALECT, **_either(*models)}


def _either(first: type[BaseModel], *others: type[BaseModel]) -> Schema:
    if not others:
        return first.model_json_schema()
    _, found = models_json_schema([(model, "validation") for model in (first, *others)])
    return {"anyOf": [{"$ref": f"{REF}{model.__name__}"} for model in (first, *others)], **found}


def experiment_schema(model: type[BaseModel]) -> Schema:
    """Return the schema of an experiment's file, whole or extending another."""
    found = extending_schema(model)
    whole = found["else"]
    whole["required"] = [key for key in whole["required"] if key not in LEFT_TO_SWEEPS]
    whole["allOf"] = [{"anyOf": [{"required": [key]}, *_swept(key)]} for key in LEFT_TO_SWEEPS]
    return found


def extending_schema(model: type[BaseModel]) -> Schema:
    """Return the schema of a file that holds ``model``, whole or extending another such file."""
    whole = model.model_json_schema(ref_template=f"{REF}{{model}}")
    defs = whole.pop("$defs")
    parts = {f"{PART}{name}": _part(found) for name, found in defs.items()}
    part = _part(whole)
    base = {"type": "string", "minLength": 1, "description": "the file that this one differs from"}
    part["properties"][KEY] = base
    whole["properties"].pop(KEY, None)
    return {
        "$schema": DIALECT,
        "title": whole["title"],
        "type": "object",
        "if": {"required": [KEY]},
        "then": part,
        "else": whole,
        "$defs": defs | parts,
    }


def _swept(key: str) -> Iterator[Schema]:
    """Iterate over the ways in which a sweep gives a key to every run."""
    given: Schema = {"type": "object", "required": [key]}
    each = {"type": "array", "minItems": 1, "items": given}
    for part, holds in {"grid": given, "zip": given, "list": each, "grids": each}.items():
        inside = {"type": "object", "required": [part], "properties": {part: holds}}
        yield {"required": ["sweep"], "properties": {"sweep": inside}}


def _part(found: Schema) -> Schema:
    """Return the schema of a part of what ``found`` describes, to be laid over the other part.

    A mapping need not be whole, and each of its values may be null; a list replaces the base's list.
    """
    if "$ref" in found:
        return {**found, "$ref": found["$ref"].replace(REF, REF + PART)}
    if "anyOf" in found:
        return {**found, "anyOf": [_part(one) for one in found["anyOf"]]}
    if found.get("type") != "object":
        return found
    part = {key: value for key, value in found.items() if key in MAPPING}
    if "properties" in part:
        part["properties"] = {key: _or_null(value) for key, value in part["properties"].items()}
    if isinstance(part.get("additionalProperties"), dict):
        part["additionalProperties"] = _or_null(part["additionalProperties"])
    return part


def _or_null(found: Schema) -> Schema:
    return {"anyOf": [_part(found), {"type": "null"}]}


class Also:
    """Annotates a type that a validator lets be written in another way too, with the schema of that way."""

    def __init__(self, other: Callable[[], Schema]) -> None:
        self.other = other

    def __get_pydantic_json_schema__(self, core: Any, handler: GetJsonSchemaHandler) -> Schema:
        """Return the schema of either way."""
        return {"anyOf": [self.other(), handler(core)]}
