"""Policies that this process has as objects or classes: a notebook's, say. No other process knows them."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from policies.base import Policy
from policies.parameters import construct
from simulator.errors import InputError

_OFFERED: dict[tuple[str, str], Policy | type[Policy]] = {}
"""By axis and name."""


def offer(axis: str, policy: Policy | type[Policy]) -> str:
    """Take in a policy of an axis; return the name that experiments of this process have for it.

    Errors: InputError (no such axis, or a policy of another one).
    """
    from policies.registry import AXES
    from simulator.errors import did_you_mean

    if axis not in AXES:
        raise InputError("policies", f"unknown axis {axis!r}", did_you_mean(axis, AXES))
    kind = _kind(policy)
    wanted = AXES[axis]
    if not issubclass(kind, wanted):
        hint = f"a class that derives from policies.base.{wanted.__name__} is wanted"
        raise InputError(f"policies.{axis}", f"{kind.__qualname__} is no {axis} policy", hint)
    same = (name for (of, name), other in _OFFERED.items() if of == axis and other is policy)
    if (known := next(same, None)) is not None:
        return known
    n = sum(of == axis and _kind(other).__name__ == kind.__name__ for (of, _), other in _OFFERED.items())
    name = f"{kind.__name__} (object{f' {n + 1}' if n else ''})"
    _OFFERED[axis, name] = policy
    return name


def kind_of(axis: str, name: str) -> type[Policy] | None:
    """Return the class of a policy that was offered; None for any other name."""
    found = _OFFERED.get((axis, name))
    return None if found is None else _kind(found)


def copy_of(axis: str, name: str, given: Mapping[str, Any], where: str) -> Policy | None:
    """Return a new policy: a copy of the object that was offered, or one of the class; None for other names.

    Errors: InputError (parameters that it does not take; an object takes none).
    """
    found = _OFFERED.get((axis, name))
    if found is None:
        return None
    if isinstance(found, type):
        return construct(found, name, given, where)
    if given:
        raise InputError(where, f"{name} has its parameters already", "offer the class to set them here")
    return deepcopy(found)


def _kind(policy: Policy | type[Policy]) -> type[Policy]:
    return policy if isinstance(policy, type) else type(policy)
