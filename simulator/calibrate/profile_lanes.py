"""A link of which whole reads were measured, by block size and number of threads: a table."""

from __future__ import annotations

from simulator.calibrate.drive import LaneTimes
from simulator.calibrate.entries import Entry, entry, us
from simulator.calibrate.sample import Sample
from simulator.config.units import format_bytes


def lanes_link(times: LaneTimes, how: str) -> Entry:
    """Return the link; ``how`` it was read."""
    blocks, lanes = (sorted(set(found)) for found in zip(*times.busy, strict=True))
    most = max(blocks)
    total = {n: times.bandwidth(most, n) for n in lanes}
    enough = min(n for n in lanes if total[n] >= 0.95 * max(total.values()))
    rows = [
        {"block": f"{block} B", "lanes": n, "bandwidth": f"{times.bandwidth(block, n):.0f} B/s"}
        for block in blocks
        for n in lanes
    ]
    return {
        "bandwidth": entry(
            f"{total[enough]:.0f} B/s",
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
            "source": f"fewest threads within 5 % of the best; {', '.join(map(str, lanes))} were measured",
        },
        "table": {
            "value": rows,
            "measured": True,
            "source": f"{how}, latencies included",
        },
    }


def lane_samples(times: LaneTimes, what: str) -> dict[str, Sample]:
    """Return the samples by what was measured, for warnings."""
    return {
        f"{what} of 4 KiB alone": times.alone,
        **{f"{what} of {format_bytes(b)} by {n}": s for (b, n), s in times.busy.items()},
    }
