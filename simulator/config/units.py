"""Quantities as strings with units, read exactly: ``24 GiB``, ``25.1 GB/s``, ``60 us``.

A quantity is a number, an optional space and a unit; a bare 0 needs none. Values are computed as
fractions and rounded once, half up, to a whole number of the base unit. The pydantic types accept
strings only (and 0), hold an ``int`` and are written back in the base unit, so that
``model_dump(mode="json")`` can be read again and means the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from simulator.errors import did_you_mean

_EXPONENT = r"([eE][+-]?[0-9]{1,2})?"
_DIGITS = rf"[0-9]+(_[0-9]+)*(\.[0-9]+)?{_EXPONENT}"
_ZERO = rf"[+-]?0+(_0+)*(\.0+)?{_EXPONENT}"
_NUMBER = re.compile(rf"\s*(?P<number>[+-]?{_DIGITS})\s*(?P<unit>.*?)\s*")
_SIZES = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12} | {
    f"{prefix}iB": 1024**power for power, prefix in enumerate("KMGT", start=1)
}


@dataclass(frozen=True)
class Dimension:
    """A kind of quantity: its base unit, and how many of those each allowed unit is."""

    what: str
    base: str
    units: dict[str, int]


BYTES = Dimension("a size", "B", _SIZES)
BYTES_PER_SECOND = Dimension("a rate", "B/s", {f"{unit}/s": size for unit, size in _SIZES.items()})
NANOSECONDS = Dimension("a time", "ns", {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9})
FLOPS_PER_SECOND = Dimension(
    "a compute rate",
    "FLOP/s",
    {"FLOP/s": 1, "MFLOP/s": 10**6, "GFLOP/s": 10**9, "TFLOP/s": 10**12, "PFLOP/s": 10**15},
)


def parse_quantity(value: object, dimension: Dimension) -> int:
    """Return ``value`` (a string with a unit, or 0) in the base unit of ``dimension``.

    Raises ValueError with a text ``what is wrong; what is allowed``.
    """
    example = {"B": "24 GiB", "B/s": "25.1 GB/s", "ns": "60 us", "FLOP/s": "165.2 TFLOP/s"}[dimension.base]
    expected = f"expected {dimension.what} with a unit, such as '{example}'"
    match = _NUMBER.fullmatch(str(value))
    if match is None:
        raise ValueError(f"not a quantity; {expected}")
    number, unit = Fraction(match["number"]), match["unit"]
    if number < 0:
        raise ValueError(f"negative; {dimension.what} is 0 or more")
    if not unit:
        if number == 0:
            return 0
        raise ValueError(f"no unit; {expected}")
    if unit not in dimension.units:
        raise ValueError(f"wrong unit '{unit}'; {did_you_mean(unit, dimension.units)}")
    exact = number * dimension.units[unit]
    whole = int(exact + Fraction(1, 2))
    if exact > 0 and whole == 0:
        raise ValueError(f"less than half a {dimension.base}; the smallest step is 1 {dimension.base}")
    return whole


def parse_bytes(value: object) -> int:
    """Return a size such as ``24 GiB`` in bytes."""
    return parse_quantity(value, BYTES)


def parse_bytes_per_s(value: object) -> int:
    """Return a rate such as ``25.1 GB/s`` in bytes per second."""
    return parse_quantity(value, BYTES_PER_SECOND)


def parse_ns(value: object) -> int:
    """Return a time such as ``60 us`` in nanoseconds."""
    return parse_quantity(value, NANOSECONDS)


def parse_flops_per_s(value: object) -> int:
    """Return a compute rate such as ``165.2 TFLOP/s`` in floating-point operations per second."""
    return parse_quantity(value, FLOPS_PER_SECOND)


def format_bytes(n_bytes: int) -> str:
    """Return a size for people: ``12.50 GiB``."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if abs(n_bytes) >= _SIZES[unit]:
            return f"{n_bytes / _SIZES[unit]:.2f} {unit}"
    return f"{n_bytes} B"


def format_apart(*sizes: int) -> list[str]:
    """Return sizes for people; in bytes where two that differ would look the same."""
    texts = [format_bytes(size) for size in sizes]
    return texts if len(set(texts)) == len(set(sizes)) else [f"{size} B" for size in sizes]


def quantity_schema(dimension: Dimension) -> dict[str, Any]:
    """Return the JSON Schema of what ``parse_quantity`` takes (all but what rounds to nothing)."""
    units = "|".join(dimension.units)
    pattern = rf"^\s*({_ZERO}\s*({units})?|\+?{_DIGITS}\s*({units}))\s*$"
    return {"anyOf": [{"type": "string", "pattern": pattern}, {"type": "number", "const": 0}]}


def _schema(dimension: Dimension) -> WithJsonSchema:
    return WithJsonSchema(quantity_schema(dimension))


Bytes = Annotated[
    int,
    BeforeValidator(parse_bytes),
    PlainSerializer(lambda n: f"{n} B", return_type=str, when_used="json"),
    _schema(BYTES),
]
BytesPerSecond = Annotated[
    int,
    BeforeValidator(parse_bytes_per_s),
    PlainSerializer(lambda n: f"{n} B/s", return_type=str, when_used="json"),
    _schema(BYTES_PER_SECOND),
]
Nanoseconds = Annotated[
    int,
    BeforeValidator(parse_ns),
    PlainSerializer(lambda n: f"{n} ns", return_type=str, when_used="json"),
    _schema(NANOSECONDS),
]
FlopsPerSecond = Annotated[
    int,
    BeforeValidator(parse_flops_per_s),
    PlainSerializer(lambda n: f"{n} FLOP/s", return_type=str, when_used="json"),
    _schema(FLOPS_PER_SECOND),
]
