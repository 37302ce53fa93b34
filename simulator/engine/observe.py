"""Watching a run from outside: what an observer is told, and by whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from simulator.engine.demand import Pass, Record
    from simulator.engine.fabric import Fabric
    from simulator.engine.jobs import Job
    from simulator.engine.link import Link
    from simulator.engine.player import Player
    from simulator.engine.tiers import Tier

Change = Literal["taken", "landed", "evicted", "removed"]


class Observer(Protocol):
    """Told of what happens, as it happens; it looks and changes nothing. Keys are version keys."""

    def computed(self, label: str, start_ns: int, end_ns: int, layer: int, key: int | None) -> None:
        """Note a span of the main unit: its label, and the layer (-1: none) and expert that it is for."""

    def helped(self, key: int, start_ns: int, end_ns: int) -> None:
        """Note an expert that the CPU helper has computed."""

    def carried(self, link: Link, lane: int, job: Job, now_ns: int) -> None:
        """Note that a job on a lane entered its phase; in WAITING it has left the lane."""

    def settled(self, fabric: Fabric) -> None:
        """Note queues and rates; of several calls in one nanosecond the last one holds from then on."""

    def changed(self, tier: Tier, key: int, change: Change) -> None:
        """Note what became of an entry of a tier."""

    def passed(self, p: Pass, record: Record) -> None:
        """Note that a pass has ended."""


def observe(player: Player, observer: Observer) -> None:
    """Have all parts of a run tell ``observer`` from now on, between two passes.

    What is observed is played by the general player alone (docs/timing.md holds for both).
    """
    fabric, loader = player.fabric, player.loader
    player.observer = fabric.observer = fabric.helper.observer = observer
    for link in fabric.links:
        link.observer = observer
    for tier in (loader.top, loader.host):
        if tier is not None:
            tier.observer = observer
