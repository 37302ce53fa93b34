"""The least weighty of the chosen are computed on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from policies.base import Event, Place, Placed, Placement

FETCH, CPU = Placed(), Placed(Place.CPU)


class LeastWeighty(Placement):
    """Computes on the CPU, while decoding, the missed ones of the ``most`` experts of least gate mass.

    Gate mass is summed over the step's tokens; of equal ones the later in the step is the lesser. The
    others are fetched, and so is what is not in DRAM.
    """

    needs = frozenset({"gate_weights"})
    cite = "exllamav3, pull request 392"
    uses_cpu = True

    def __init__(self, most: Annotated[int, Field(ge=1)] = 2) -> None:
        self.most = most

    def place(self, event: Event, missed: Sequence[int], in_dram: Sequence[bool]) -> Sequence[Placed]:
        """Return a placement for each missed key."""
        places = range(len(event.keys))
        ranked = sorted(places, key=lambda at: (event.gate_mass[at], -at))[: self.most]
        light = {event.keys[at] for at in ranked} if event.decode else set()
        n = self.context.n_versions
        return [
            CPU if there and key // n in light else FETCH for key, there in zip(missed, in_dram, strict=True)
        ]
