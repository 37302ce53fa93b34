"""The values that the paper of SRP and SCH gives for its models, beside a trace's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulator.config.yaml_file import read_yaml
from simulator.trace.locality.analyse import Locality
from simulator.trace.locality.routing import WINDOW
from simulator.trace.locality.table import Row

FILE = Path(__file__).with_name("published.yaml")
FEW = 30
FULL_PRECISION = {"float32", "float16", "bfloat16", "fp32", "fp16", "bf16"}


@dataclass(frozen=True, slots=True)
class Comparison:
    """A statistic of both, in shares of one; the paper gives SCH as an interval, SRP as a value."""

    statistic: str
    m: int
    rho: float | None
    here: float | None
    published_low: float
    published_high: float


@dataclass(frozen=True, slots=True)
class Published:
    """A model of the paper, what compares, and why the two differ."""

    model: str
    source: str
    comparisons: tuple[Comparison, ...]
    reasons: tuple[str, ...]


def compare(found: Locality) -> Published | None:
    """Return the paper's values beside the trace's; None where the paper does not have the model."""
    data = read_yaml(FILE).data
    name = found.header.model.rsplit("/", 1)[-1].lower()
    entry = next((e for e in data["models"] if any(name.startswith(start) for start in e["model"])), None)
    if entry is None:
        return None
    rows = [
        Comparison("srp", m, None, found.value("srp", m=m), share(value), share(value))
        for m, value in entry["srp"].items()
    ]
    rows += [
        Comparison("sch", m, 2.0, found.value("sch", m=m, rho=2.0), share(low), share(high))
        for m, (low, high) in entry["sch"].items()
    ]
    return Published(entry["name"], data["source"], tuple(rows), tuple(_reasons(found, entry)))


def share(percent: float) -> float:
    """Return a percentage as a share of one, with the digits that were published."""
    return round(percent / 100, 4)


def published_rows(published: Published | None) -> list[Row]:
    """Return the paper's values as rows of the table, so that figures can show them."""
    pairs = published.comparisons if published else ()
    return [
        Row(f"{p.statistic}_published", None, 0, m=p.m, rho=p.rho, low=p.published_low, high=p.published_high)
        for p in pairs
    ]


def _reasons(found: Locality, entry: dict[str, Any]) -> list[str]:
    """Say in what the trace differs from the paper's recordings."""
    header, routing = found.header, found.routing
    reasons = ["other text: the paper reads 2,048 inputs of each of its domains"]
    if header.model.rsplit("/", 1)[-1].lower() != entry["name"].lower():
        reasons.append(f"another release: {header.model} here, {entry['name']} there")
    if header.top_k != entry["top_k"]:
        reasons.append(f"k is {header.top_k} here, {entry['top_k']} there")
    if header.precision and header.precision.lower() not in FULL_PRECISION:
        reasons.append(f"experts in {header.precision}, which moves the router's inputs")
    if found.decodes:
        reasons.append("generated tokens; the paper's are read")
    lengths = [window.stop - window.start for window in routing.windows]
    if min(lengths) < WINDOW:
        reasons.append(
            f"windows as short as {min(lengths)} tokens, the paper's have {WINDOW}: the shorter, the more of "
            "it is first uses, which SCH counts as found while the cache fills"
        )
    if len(lengths) < FEW:
        reasons.append(f"few windows ({len(lengths)})")
    if not routing.recorded.all():
        reasons.append(f"{int((~routing.recorded).sum())} rows were not recorded")
    return reasons
