"""Exclusive pairs: a victim of tier 0 goes back to tier 1 (docs/timing.md §8)."""

from __future__ import annotations

from simulator.engine.processes.carrier import Carrier
from simulator.engine.processes.transfers import Transfer


class Exclusive:
    """Takes victims of tier 0 into tier 1 and writes them back.

    During a demand event write-backs are held back, to be queued where §4.7 says.
    """

    def __init__(self, carrier: Carrier) -> None:
        self.carrier = carrier
        self.held: list[Transfer] | None = None

    def hold(self) -> list[Transfer]:
        """Hold write-backs back from now on, in the list that is returned."""
        self.held = []
        return self.held

    def release(self) -> None:
        """Queue write-backs at once again."""
        self.held = None

    def left(self, key: int) -> None:
        """A victim left tier 0: tier 1 takes it in, or drops it (§8)."""
        host = self.carrier.host
        back = Transfer(key)
        back.on_landed = lambda: self.carrier.landed_below(back)
        if host is not None:
            pool = host.pool(key)
            if key in pool or not host.make_room(pool, host.size_of(key)):
                return
            host.take_in(key, back)
            pool.policy.on_insert(key)
        else:
            self.carrier.written_back[key] = back
        if self.held is None:
            self.queue(back)
        else:
            self.held.append(back)

    def queue(self, back: Transfer) -> None:
        """Queue a write-back: a demand job on the link down."""
        self.carrier.send_prepared(back, self.carrier.top.size_of(back.key), self.carrier.down)
