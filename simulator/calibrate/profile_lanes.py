"""A link of which whole reads were measured, by block size and number of threads: a table."""

from __future__ import annotations

from statistics import geometric_mean

from simulator.calibrate.drive import LaneTimes
from simulator.calibrate.entries import Entry, entry, us
from simulator.calibrate.sample import Sample, worst
from simulator.config.units import format_bytes

JUDGED = 64 << 10
"""Bytes of a block from which on it counts for how many threads are enough: experts are no smaller."""


def lanes_link(times: LaneTimes, how: str) -> Entry:
    """Return the link; ``how`` it was read."""
    blocks, lanes = (sorted(set(found)) for found in zip(*times.busy, strict=True))
    most = max(blocks)
    judged = [block for block in blocks if block >= JUDGED] or blocks
    rate = {n: geometric_mean([times.bandwidth(block, n) for block in judged]) for n in lanes}
    enough = min(n for n in lanes if rate[n] >= 0.95 * max(rate.values()))
    rows = [
        {"block": f"{block} B", "lanes": n, "bandwidth": f"{times.bandwidth(block, n):.0f} B/s"}
        for block in blocks
        for n in lanes
    ]
    return {
        "bandwidth": entry(
            f"{times.bandwidth(most, enough):.0f} B/s",
            f"{how}: one of {format_bytes(most)} by {enough} threads: {us(times.busy[most, enough])}",
        ),
        "latency": entry(
            "0 ns",
            "in the table, whose rows are whole reads; 4 KiB alone, from handing it to a thread until it is "
            f"known to be there: {us(times.alone)}",
        ),
        "lanes": {
            "value": enough,
            "measured": True,
            "source": f"fewest threads within 5 % of the best (geometric mean of the rates with blocks of "
            f"{format_bytes(judged[0])} and more); {', '.join(map(str, lanes))} were measured",
        },
        "table": {
            "value": rows,
            "measured": True,
            "source": f"{how}, latencies included: {worst(_by_row(times))}",
        },
    }


def _by_row(times: LaneTimes) -> dict[str, Sample]:
    return {f"{format_bytes(block)} by {n}": found for (block, n), found in times.busy.items()}


def lane_samples(times: LaneTimes, what: str) -> dict[str, Sample]:
    """Return the samples by what was measured, for warnings."""
    return {
        f"{what} of 4 KiB alone": times.alone,
        **{f"{what} of {row}": found for row, found in _by_row(times).items()},
    }
