"""Parameters of a policy: its ``__init__`` signature is the schema."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from policies.base import Policy
from simulator.config.faults import truth_hint
from simulator.errors import InputError, did_you_mean, said


def construct(kind: type[Policy], name: str, given: Mapping[str, Any], where: str) -> Policy:
    """Return a policy made with the ``given`` parameters.

    Values are checked strictly against the annotations (no ``"3"`` for 3); ranges are written as
    ``Annotated[int, Field(ge=1)]``, and what an annotation cannot say ``__init__`` refuses with a
    ValueError. Errors: InputError (unknown, missing or mistyped parameter).
    """
    known = inspect.signature(kind).parameters
    for parameter in given:
        if parameter not in known:
            hint = did_you_mean(parameter, known) if known else "it has none"
            raise InputError(where, f"{name} has no parameter '{parameter}'", hint)
    for parameter, declared in known.items():
        if declared.default is inspect.Parameter.empty and parameter not in given:
            raise InputError(where, f"{name} needs the parameter '{parameter}'")
    hints = get_type_hints(kind.__init__, include_extras=True)
    checked = {}
    for parameter, value in given.items():
        try:
            checked[parameter] = TypeAdapter(hints.get(parameter, Any)).validate_python(value, strict=True)
        except ValidationError as error:
            fault = error.errors()[0]
            hint = truth_hint(value) if fault["type"] == "bool_type" else fault["msg"]
            raise InputError(where, f"{name}: {parameter}: {value!r}", hint) from error
    try:
        return kind(**checked)
    except ValueError as error:
        raise InputError(where, f"{name}: {said(error)}") from error
