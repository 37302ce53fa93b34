"""How a measured number stands in a profile."""

from __future__ import annotations

from typing import Any

from simulator.calibrate.sample import Sample

Entry = dict[str, Any]
REACHED = "1 by definition: the rate beside it is the one that was reached"
EFFICIENCY = {"value": 1.0, "measured": True, "source": REACHED}


def entry(value: str, source: str) -> Entry:
    """Return a measured number of a profile."""
    return {"value": value, "measured": True, "source": source}


def share_entry(share: float, source: str) -> Entry:
    """Return a measured share, above 0 and at most 1."""
    return {"value": min(1.0, max(1e-6, round(share, 6))), "measured": True, "source": source}


def size_entry(n_bytes: int, source: str) -> Entry:
    """Return a measured size."""
    return entry(f"{n_bytes} B", source)


def us(sample: Sample) -> str:
    """Return a sample of seconds in microseconds."""
    return sample.text(1e-6, "us")
