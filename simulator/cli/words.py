"""Values and numbers in words, as tables on a terminal show them."""

from __future__ import annotations


def value(found: object) -> str:
    """Return a swept value in words."""
    return ", ".join(f"{k} {v}" for k, v in found.items()) if isinstance(found, dict) else str(found)


def number(found: object) -> str:
    """Return a number with four digits."""
    if not isinstance(found, float):
        return "" if found is None else str(found)
    digits = 4 if abs(found) < 1 else 3 if abs(found) < 10 else 2 if abs(found) < 100 else 1
    return f"{found:,.{digits}f}"
