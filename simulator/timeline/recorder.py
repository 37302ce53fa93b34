"""The recorder: an observer that draws what it is told as tracks, counters and arrows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from simulator.assemble.run import Run
from simulator.engine.demand import Pass, Record
from simulator.engine.fabric import Fabric
from simulator.engine.helper import NOBODY
from simulator.engine.jobs import Job, Phase
from simulator.engine.link import Link
from simulator.engine.observe import Change
from simulator.engine.player import Player
from simulator.engine.tiers import Tier
from simulator.timeline.trace_events import TraceEvents, Track

LABELS = {"expert": "expert_compute", "cpu_wait": "cpu_expert_wait"}
"""Labels of the results, where the engine's word is another."""
WAITS = {"cpu_wait": "wait for CPU", "host": "wait for software"}
"""Waits that are no stalls, in words."""
SHOWN = {"landed": "land", "evicted": "evict", "removed": "remove"}
"""Changes of a tier's entries that are drawn."""


@dataclass(slots=True)
class Wait:
    """The main unit waiting; ``category`` is its label in the results."""

    name: str
    category: str
    start_ns: int
    end_ns: int
    args: dict[str, Any]

    def goes_on_as(self, other: Wait) -> bool:
        """Return whether ``other`` is the next part of the same wait."""
        return (self.name, self.end_ns, self.args) == (other.name, other.start_ns, other.args)


@dataclass(slots=True)
class Stint:
    """A job's stay on a lane: since when in which phase, and how long in each before."""

    job: Job
    start_ns: int
    counted: int
    began_earlier: bool
    phase: Phase
    since_ns: int
    spent: Counter[Phase] = field(default_factory=Counter)

    def enter(self, phase: Phase, now_ns: int) -> None:
        """Go on in another phase."""
        self.spent[self.phase] += now_ns - self.since_ns
        self.phase, self.since_ns = phase, now_ns


class Recorder:
    """Draws a run from the present time of ``player`` on, until ``close``."""

    def __init__(self, events: TraceEvents, run: Run, player: Player) -> None:
        self.events = events
        self.fabric = player.fabric
        self.stride, self.n_versions = player.keys_per_layer, player.n_versions
        self.precisions = run.precisions
        compute = events.process("compute")
        self.passes = events.track(compute, "passes")
        self.main = events.track(compute, f"main unit ({run.tiers[0]})")
        self.helper = events.track(compute, "CPU helper") if player.loader.down is not None else self.main
        self.links: dict[str, int] = {}
        self.lanes: dict[tuple[str, int], Track] = {}
        self.tiers: dict[str, Track] = {}
        self.on_lanes: dict[tuple[str, int], Stint] = {}
        self.brought: dict[int, tuple[Track, int]] = {}  # where a prefetch's last bytes came from
        self.used: set[int] = set()  # prefetched, and an arrow leads to their first use
        self.wait: Wait | None = None  # drawn when it has ended
        for link in self.fabric.links:
            name = link.plan.name
            self.links[name] = events.process(f"link {name}")
            for lane, job in enumerate(link.lanes):
                self.lanes[name, lane] = events.track(self.links[name], f"lane {lane}")
                if job is not None:
                    self._begin(link, lane, job, self.fabric.now, began_earlier=True)
        self.settled(self.fabric)
        for tier in (player.loader.top, player.loader.host):
            if tier is not None:
                self.tiers[tier.name] = events.track(events.process(f"cache {tier.name}"), "entries")
                self._occupancy(tier)

    def close(self) -> None:
        """Draw what still goes on, up to now."""
        self._end_wait()
        for (name, lane), stint in sorted(self.on_lanes.items()):
            link = next(link for link in self.fabric.links if link.plan.name == name)
            stint.enter(stint.phase, self.fabric.now)
            self._draw(link, lane, stint, {"goes_on": True})

    # -- compute ----------------------------------------------------------------------------------

    def computed(self, label: str, start_ns: int, end_ns: int, layer: int, key: int | None) -> None:
        """Draw a span of the main unit; a wait that goes on is one slice."""
        category = LABELS.get(label, label)
        args = self._expert(key) if key is not None else {"layer": layer} if layer >= 0 else {}
        named = self._name(key) if key is not None else f"L{layer}" if layer >= 0 else ""
        if label in WAITS or label.startswith("stall_"):
            wait = Wait(WAITS.get(label, label.replace("_", " ", 1)), category, start_ns, end_ns, args)
            if self.wait is not None and self.wait.goes_on_as(wait):
                self.wait.end_ns = end_ns
            else:
                self._end_wait()
                self.wait = wait
            return
        self._end_wait()
        self.events.slice(self.main, f"{label} {named}".strip(), category, (start_ns, end_ns), args)
        if key in self.brought:
            self.events.flow("first use", self.brought.pop(key), (self.main, start_ns))
            self.used.add(key)

    def _end_wait(self) -> None:
        wait, self.wait = self.wait, None
        if wait is not None:
            self.events.slice(self.main, wait.name, wait.category, (wait.start_ns, wait.end_ns), wait.args)

    def helped(self, key: int, start_ns: int, end_ns: int) -> None:
        """Draw an expert on the CPU helper, or what the operations on all of a layer's cost."""
        span = (start_ns, end_ns)
        if key == NOBODY:
            self.events.slice(self.helper, "operations", "cpu_operations", span, {})
            return
        self.events.slice(self.helper, f"expert {self._name(key)}", "cpu_expert", span, self._expert(key))

    def passed(self, p: Pass, record: Record) -> None:
        """Draw a pass over all that was in it."""
        phase = "decode" if p.decode else "prefill"
        counts = ("lookups", "hits", "late", "misses", "demand_bytes")
        args = {"tokens": p.n_tokens} | {name: getattr(record, name) for name in counts}
        span = (record.start_ns, record.end_ns)
        self.events.slice(self.passes, f"pass {p.index} ({phase})", phase, span, args)

    # -- links ------------------------------------------------------------------------------------

    def carried(self, link: Link, lane: int, job: Job, now_ns: int) -> None:
        """Follow a job on its lane, and draw it when it leaves."""
        stint = self.on_lanes.get((link.plan.name, lane))
        if stint is None:
            self._begin(link, lane, job, now_ns, began_earlier=False)
            return
        stint.enter(job.phase, now_ns)
        if job.phase is Phase.WAITING:
            del self.on_lanes[link.plan.name, lane]
            self._draw(link, lane, stint, {})

    def _begin(self, link: Link, lane: int, job: Job, now_ns: int, *, began_earlier: bool) -> None:
        counted = job.bytes if job.phase is Phase.COPYING else job.counted
        stint = Stint(job, now_ns, counted, began_earlier, job.phase, now_ns)
        self.on_lanes[link.plan.name, lane] = stint

    def _draw(self, link: Link, lane: int, stint: Stint, more: dict[str, Any]) -> None:
        """Draw a stint: whose bytes these are, how many moved in it, and how long each phase was."""
        job, end = stint.job, stint.since_ns
        if end == stint.start_ns:  # it gave its lane up just as the first pass began
            return
        transfer = job.piece.transfer
        category = _class(job, link)
        moved = job.bytes if job.left <= 0 else job.counted
        args: dict[str, Any] = {"class": category} | (self._expert(transfer.key) if transfer.key >= 0 else {})
        args |= {"bytes": moved - stint.counted, "of_bytes": job.bytes}
        if len(transfer.hops) == 2:
            args["hop"] = 2 if job.second_hop else 1
        if len(transfer.pieces) > 1:
            args["part"] = job.piece.stage
        args |= {f"{phase.name.lower()}_ns": ns for phase, ns in stint.spent.items() if ns}
        args |= {"cancelled": True} if transfer.cancelled else {}
        args |= {"began_earlier": True} if stint.began_earlier else {}
        track = self.lanes[link.plan.name, lane]
        named = f" {self._name(transfer.key)}" if transfer.key >= 0 else ""
        self.events.slice(track, category + named, category, (stint.start_ns, end), args | more)
        arrives = category == "prefetch" and link.plan.target == 0 and not transfer.cancelled
        if arrives and transfer.key not in self.used:
            self.brought[transfer.key] = (track, end - 1)

    def settled(self, fabric: Fabric) -> None:
        """Count what waits and what moves on each link."""
        for link in fabric.links:
            pid = self.links[link.plan.name]
            waiting = {"demand": len(link.demand), "speculative": len(link.speculative)}
            self.events.count(pid, "queued jobs", fabric.now, waiting)
            rate = sum(job.rate for job in link.moving())
            self.events.count(pid, "bandwidth", fabric.now, {"bytes_per_s": rate})

    # -- tiers ------------------------------------------------------------------------------------

    def changed(self, tier: Tier, key: int, change: Change) -> None:
        """Mark an entry that landed or left, and count what is occupied."""
        self._occupancy(tier)
        if change in SHOWN:
            name = f"{SHOWN[change]} {self._name(key)}"
            self.events.instant(self.tiers[tier.name], name, change, self.fabric.now, self._expert(key))
        if change in {"evicted", "removed"} and tier.name == next(iter(self.tiers)):
            self.brought.pop(key, None)
            self.used.discard(key)

    def _occupancy(self, tier: Tier) -> None:
        pid = self.tiers[tier.name].pid
        self.events.count(pid, "occupancy", self.fabric.now, {"bytes": tier.used})

    # -- names ------------------------------------------------------------------------------------

    def _expert(self, key: int) -> dict[str, Any]:
        layer, version = key // self.stride, key % self.n_versions
        precision = self.precisions[version] if self.precisions else "main"
        return {"layer": layer, "expert": key % self.stride // self.n_versions, "version": precision}

    def _name(self, key: int) -> str:
        who = self._expert(key)
        return f"L{who['layer']} E{who['expert']}" + (f" {who['version']}" if key % self.n_versions else "")


def _class(job: Job, link: Link) -> str:
    transfer = job.piece.transfer
    if transfer.key < 0:
        return "activations"
    if link.plan.source < link.plan.target:
        return "write-back"
    return "demand" if transfer.demand else "prefetch"
