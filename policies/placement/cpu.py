"""Compute missed experts on the CPU."""

from __future__ import annotations

from collections.abc import Sequence

from policies.base import Event, Place, Placed, Placement

FETCH, CPU = Placed(), Placed(Place.CPU)


class Cpu(Placement):
    """Computes each missed expert that is in DRAM there, and fetches the others.

    Fiddler's decode path, without its rule for when fetching is cheaper.
    """

    cite = "Kamahori et al., Fiddler, ICLR 2025, arXiv 2402.07033"
    uses_cpu = True

    def place(self, event: Event, missed: Sequence[int], in_dram: Sequence[bool]) -> Sequence[Placed]:
        """Return the CPU for each key that is in DRAM."""
        return [CPU if there else FETCH for there in in_dram]
