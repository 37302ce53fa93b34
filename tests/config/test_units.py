"""Quantities with units are exact, and wrong ones are refused with what is allowed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from simulator.config.units import (
    BYTES,
    BYTES_PER_SECOND,
    FLOPS_PER_SECOND,
    NANOSECONDS,
    Bytes,
    BytesPerSecond,
    Dimension,
    FlopsPerSecond,
    Nanoseconds,
    format_bytes,
    parse_bytes,
    parse_bytes_per_s,
    parse_flops_per_s,
    parse_ns,
    parse_quantity,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("24 GiB", 24 * 1024**3),
        ("12 MB", 12_000_000),
        ("4KiB", 4096),
        ("4000 MiB", 4000 * 1024**2),
        ("  1.5 KiB ", 1536),
        ("0.1 GB", 100_000_000),
        ("1_000 B", 1000),
        ("1e3 kB", 1_000_000),
        ("0", 0),
        (0, 0),
        (0.0, 0),
        ("0 GiB", 0),
    ],
)
def test_sizes(text: object, value: int) -> None:
    assert parse_bytes(text) == value


def test_rates_times_and_flops_are_exact_where_floats_are_not() -> None:
    assert parse_bytes_per_s("25.1 GB/s") == 25_100_000_000
    assert parse_bytes_per_s("0.29 GB/s") == 290_000_000
    assert parse_bytes_per_s("2.46 GiB/s") == 2_641_404_887
    assert parse_ns("60 us") == parse_ns("60 µs") == 60_000
    assert parse_ns("1.5 ms") == 1_500_000
    assert parse_ns("0.5 ns") == 1
    assert parse_flops_per_s("165.2 TFLOP/s") == 165_200_000_000_000


@pytest.mark.parametrize(
    ("text", "dimension", "says"),
    [
        ("24 Gib", BYTES, "wrong unit 'Gib'; did you mean 'GiB'?"),
        ("24 us", BYTES, "wrong unit 'us'; allowed: B, GB"),
        ("25 Gb/s", BYTES_PER_SECOND, "wrong unit 'Gb/s'; did you mean 'GB/s'?"),
        ("25 GB", BYTES_PER_SECOND, "did you mean 'GB/s'?"),
        ("5 TFLOPS", FLOPS_PER_SECOND, "did you mean 'TFLOP/s'?"),
        ("3 min", NANOSECONDS, "wrong unit 'min'"),
        ("24", BYTES, "no unit; expected a size with a unit, such as '24 GiB'"),
        (24, BYTES, "no unit"),
        (2.5, NANOSECONDS, "no unit; expected a time"),
        ("-4 GiB", BYTES, "negative; a size is 0 or more"),
        (-4, BYTES, "negative"),
        ("lots", BYTES, "not a quantity"),
        (True, BYTES, "not a quantity"),
        (None, BYTES, "not a quantity"),
        ("nan GiB", BYTES, "not a quantity"),
        ("0.1 ns", NANOSECONDS, "less than half a ns"),
    ],
)
def test_refused(text: object, dimension: Dimension, says: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_quantity(text, dimension)
    assert says in str(caught.value)


@given(st.integers(0, 10**18), st.sampled_from(sorted(BYTES.units)))
def test_whole_numbers_are_never_rounded(number: int, unit: str) -> None:
    assert parse_bytes(f"{number} {unit}") == number * BYTES.units[unit]


class Sizes(BaseModel):
    """One field of each type."""

    size: Bytes
    rate: BytesPerSecond
    delay: Nanoseconds
    flops: FlopsPerSecond


def test_models_hold_integers_and_dump_what_can_be_read_again() -> None:
    sizes = Sizes.model_validate(
        {"size": "1.3 GiB", "rate": "2.46 GiB/s", "delay": "60 us", "flops": "1 TFLOP/s"}
    )
    assert sizes.size == 1_395_864_371
    written = sizes.model_dump(mode="json")
    assert written["delay"] == "60000 ns"
    assert Sizes.model_validate(written) == sizes
    assert Sizes.model_json_schema()["properties"]["size"]["anyOf"][0]["type"] == "string"


def test_sizes_for_people() -> None:
    assert [format_bytes(n) for n in (0, 1023, 1536, 12 * 1024**3)] == [
        "0 B",
        "1023 B",
        "1.50 KiB",
        "12.00 GiB",
    ]
