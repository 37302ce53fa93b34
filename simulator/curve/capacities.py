"""Cache sizes as a user writes them: bytes, shares, experts, or all that make a difference."""

from __future__ import annotations

import re
from collections.abc import Sequence

from simulator.config.units import parse_bytes
from simulator.errors import InputError

MOST = 256
"""Sizes that ``all`` is at most: evenly spread where there are more."""
HINT = "sizes such as 250MiB,2GiB, shares such as 10%,25%, experts such as 16,64, or all"


def capacities(text: str, sizes: Sequence[int], n_experts: int) -> list[int]:
    """Return capacities in bytes, ascending, each once. Errors: InputError (no such size)."""
    whole = n_experts * sum(sizes)
    if text.strip() == "all":
        n = n_experts * len(sizes)
        counts = range(1, n + 1) if n <= MOST else [round(n * (i + 1) / MOST) for i in range(MOST)]
        return sorted({whole * count // n for count in counts})
    found = set()
    for part in text.split(","):
        said = part.strip()
        if match := re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*%", said):
            found.add(int(whole * float(match[1]) / 100))
        elif re.fullmatch(r"[0-9]+", said):
            found.add(int(said) * whole // (n_experts * len(sizes)))
        else:
            try:
                found.add(parse_bytes(re.sub(r"(?<=[0-9])(?=[A-Za-z])", " ", said)))
            except ValueError as error:
                raise InputError("--capacities", f"'{said[:40]}': {error}", HINT) from None
    if not all(size > 0 for size in found):
        raise InputError("--capacities", "a size of nothing", HINT)
    return sorted(found)
