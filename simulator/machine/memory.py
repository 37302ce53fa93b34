"""Memory as it is sold: ``2x32GB DDR5-6000``, ``8x64GB DDR4-3200``, ``64 GiB DDR5-5600``, ``96GB``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from simulator.errors import InputError, did_you_mean

RATES = {
    "DDR3": (800, 2133),
    "DDR4": (1600, 5400),
    "DDR5": (3200, 10000),
    "LPDDR4X": (1600, 4267),
    "LPDDR5": (3200, 6400),
    "LPDDR5X": (6000, 10700),
}
"""Kinds of memory, and the slowest and fastest that are sold, in million transfers a second."""
_SIZES = {"GB": 2**30, "GiB": 2**30, "TB": 2**40, "TiB": 2**40}
_MEMORY = re.compile(
    r"(?:(?P<modules>[1-9][0-9]?)\s*x\s*)?(?P<size>[1-9][0-9]{0,4})\s*(?P<unit>[A-Za-z]+)"
    r"(?:\s+(?P<kind>[A-Za-z]+[0-9][A-Za-z]?)(?:[- ]?(?P<rate>[0-9]+))?)?"
)
FORM = "such as '2x32GB DDR5-6000', '64 GiB DDR4-3200' or '64GB'"
CHANNEL_BYTES = 8


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes in all, modules (None: not said, one a channel or more), kind and million transfers a second."""

    capacity: int
    modules: int | None
    kind: str | None
    rate: int | None

    def peak_bytes_per_s(self, channels: int) -> int:
        """Return the peak of so many 64-bit channels; rates are thirds of 100 MT/s (2666 is 2666.67)."""
        assert self.rate is not None
        thirds = round(self.rate * 3 / 100)
        exact = thirds * 100_000_000 if abs(thirds * 100 - 3 * self.rate) < 3 else 3 * self.rate * 1_000_000
        return channels * CHANNEL_BYTES * exact // 3

    def channels(self, of_host: int) -> int:
        """Return the channels at work: one for each module, at most those of the host."""
        return of_host if self.modules is None else min(self.modules, of_host)


def parse_memory(text: str, where: str) -> Memory:
    """Return what a text says; a module's GB are GiB, as they are sold. Errors: InputError at ``where``."""
    found = _MEMORY.fullmatch(text.strip())
    said = f"'{text.strip()[:60]}'"
    if found is None:
        raise InputError(where, said, f"modules x size, kind and rate, {FORM}")
    sizes = {unit.lower(): n for unit, n in _SIZES.items()}
    if found["unit"].lower() not in sizes:
        raise InputError(where, f"{said} has the unit '{found['unit']}'", did_you_mean(found["unit"], _SIZES))
    kind, rate = found["kind"] and found["kind"].upper(), found["rate"] and int(found["rate"])
    if kind is not None:
        if kind not in RATES:
            raise InputError(where, f"{said} has the kind '{kind}'", did_you_mean(kind, RATES))
        low, high = RATES[kind]
        if rate and not low <= rate <= high:
            raise InputError(where, f"{said}: no {kind}-{rate} is sold", f"{kind} has {low} to {high} MT/s")
    modules = int(found["modules"]) if found["modules"] else None
    capacity = (modules or 1) * int(found["size"]) * sizes[found["unit"].lower()]
    return Memory(capacity, modules, kind, rate or None)


def at_host(memory: Memory, official: Sequence[str], host: str, where: str) -> Memory:
    """Return memory with the kind and rate that it has in a host, whose ``official`` ones are given.

    What the text leaves open is the host's first kind, and that kind's official rate.
    Errors: InputError (a kind that does not fit the host's slots).
    """
    rates = {kind: int(rate) for kind, _, rate in (one.partition("-") for one in official)}
    kind = memory.kind or next(iter(rates))
    if kind not in rates:
        raise InputError(where, f"{host} takes no {kind}", f"it takes {' or '.join(official)}")
    return Memory(memory.capacity, memory.modules, kind, memory.rate or rates[kind])
