"""The simulation: one SimPy process that plays the request stream, pass by pass."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any

import simpy

from policies.base import Policy
from simulator.engine.answer import Answer
from simulator.engine.demand import Pass, Record
from simulator.engine.merged import MergedPlayer
from simulator.engine.player import Player


class Simulation:
    """Plays passes in order and hands each one's record to ``keep``.

    Only one pass runs at a time and nobody else can observe what is inside it, so its delays are
    merged into a single timeout; background transfers are played forward when a decision needs them.
    """

    def __init__(
        self,
        player: Player,
        merged: MergedPlayer | None,
        policies: Iterable[Policy],
        keep: Callable[[Pass, Record], None],
        resize: Callable[[int], None] | None = None,
    ) -> None:
        self.player = player
        self.merged = merged
        self.policies = list(policies)
        self.keep = keep
        self.resize = resize

    def run(self, passes: Iterable[Pass]) -> int:
        """Play all passes; return the time at which the last one ended."""
        env = simpy.Environment()
        env.run(env.process(self._stream(env, passes)))
        return int(env.now)

    def close(self) -> Answer:
        """End the run, after its last pass; return what it answers."""
        loader = self.player.loader
        wasted = loader.speculation.close()
        books = loader.speculation.books
        return Answer(
            link_bytes={link.plan.name: link.moved_bytes for link in loader.fabric.links},
            peak_bytes={tier.name: tier.peak for tier in (loader.top, loader.host) if tier is not None},
            started=books.started,
            useful=books.useful,
            unused=books.unused,
            cancelled=books.cancelled,
            dropped=books.dropped,
            wasted_bytes=wasted,
        )

    def resident_steps(self, end_step: int) -> dict[int, int]:
        """Return for how many layer steps each key was resident in tier 0, without zeros."""
        return self.player.loader.top.resident_steps(end_step)

    def _stream(self, env: simpy.Environment, passes: Iterable[Pass]) -> Generator[simpy.Event, Any, None]:
        play = self.player.play if self.merged is None else self.merged.play
        for p in passes:
            if p.starts_sequence:
                for policy in self.policies:
                    policy.on_sequence_start()
            if p.cache_bytes is not None and self.resize is not None:
                self.resize(p.cache_bytes)
                self.player.loader.queue_write_backs()  # of what no longer fits, at once (§8)
            record = play(p)
            yield env.timeout(record.end_ns - env.now)
            self.keep(p, record)
