"""Numbers as people read them, in tables, figures and pages alike."""

from __future__ import annotations

import math

SIGNIFICANT = 4


def places(value: float) -> int:
    """Return how many decimals show a number to four digits: at least one, and no more than four."""
    magnitude = math.floor(math.log10(abs(value))) if value else -1
    return min(SIGNIFICANT, max(1, SIGNIFICANT - 1 - magnitude))


def fixed(value: float, decimals: int) -> str:
    """Return a number with ``decimals``, with more where those would leave less than two digits."""
    if decimals and 0 < abs(value) < 1:
        decimals = max(decimals, 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}" if decimals <= 9 else f"{value:.1e}"


def four_digits(value: object) -> str:
    """Return a number to four digits; whole numbers and words as they are, nothing for None."""
    if not isinstance(value, float):
        return "" if value is None else str(value)
    return f"{value:,.{places(value) if math.isfinite(value) else 0}f}"


def three_digits(value: float, missing: str = "n/a") -> str:
    """Return a number to three digits, all of them written; ``missing`` for NaN."""
    if math.isnan(value):
        return missing
    return f"{value:#.3g}".rstrip(".") if value < 1000 else f"{value:,.0f}"


def exact(value: float) -> str:
    """Return a number in full."""
    return str(int(value)) if math.isfinite(value) and value % 1 == 0 else repr(float(value))
