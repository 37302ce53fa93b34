"""Values of settings in words, as tables on a terminal show them."""

from __future__ import annotations


def value(found: object) -> str:
    """Return a swept value in words."""
    return ", ".join(f"{k} {v}" for k, v in found.items()) if isinstance(found, dict) else str(found)
