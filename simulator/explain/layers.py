"""Which layers a run waits in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from simulator.engine.demand import Pass, Record
from simulator.engine.fabric import Fabric
from simulator.engine.jobs import Job
from simulator.engine.link import Link
from simulator.engine.observe import Change
from simulator.engine.tiers import Tier

MOST = 3
"""Layers that are named."""


@dataclass(slots=True)
class Waits:
    """Nanoseconds that the main unit waited for experts, by layer. Implements ``engine.observe.Observer``."""

    ns: list[int] = field(default_factory=list)

    def computed(self, label: str, start_ns: int, end_ns: int, layer: int, key: int | None) -> None:
        """Add a wait."""
        if layer >= 0 and label.startswith(("stall_", "cpu_wait")):
            self.ns += [0] * (layer + 1 - len(self.ns))
            self.ns[layer] += end_ns - start_ns

    def helped(self, key: int, start_ns: int, end_ns: int) -> None:
        """Take no notice."""

    def carried(self, link: Link, lane: int, job: Job, now_ns: int) -> None:
        """Take no notice."""

    def settled(self, fabric: Fabric) -> None:
        """Take no notice."""

    def changed(self, tier: Tier, key: int, change: Change) -> None:
        """Take no notice."""

    def passed(self, p: Pass, record: Record) -> None:
        """Take no notice."""


def worst(ns: Sequence[int]) -> list[tuple[int, float]]:
    """Return the layers with the longest waits, each with its share of all waiting."""
    whole = sum(ns)
    order = sorted(range(len(ns)), key=lambda layer: (-ns[layer], layer))[:MOST]
    return [(layer, ns[layer] / whole) for layer in order if whole and ns[layer]]


def sentence(ns: Sequence[int]) -> str:
    """Say where the waits are."""
    named = worst(ns)
    if not named:
        return "No layer waits."
    even = 1 / len(ns)
    if named[0][1] < 1.5 * even:
        return "All layers wait about as long."
    return (
        "The longest waits are in MoE layers "
        + ", ".join(f"{layer} ({share:.0%})" for layer, share in named)
        + "."
    )
