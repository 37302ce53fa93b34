"""KTransformers' deferral: light experts on the CPU are combined a layer later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from policies.base import Event, Place, Placed, Placement

FETCH, CPU, LATER = Placed(), Placed(Place.CPU), Placed(Place.CPU, 1)


class Deferred(Placement):
    """Computes missed experts on the CPU; the least weighty of a decoding step are combined a layer later.

    ``share`` of the step's experts may be deferred, by least gate mass, of equal ones the later; the last
    layer defers nothing. What layer k defers is added to the output of layer k + 1, so it reaches layer k +
    2. What is not in DRAM is fetched.
    """

    needs = frozenset({"gate_weights"})
    cite = "KTransformers, SOSP 2025 (expert deferral; 6 of 8 experts of DeepSeek-V3)"
    uses_cpu = True

    def __init__(self, share: Annotated[float, Field(ge=0, le=1)] = 0.75) -> None:
        self.share = share

    def place(self, event: Event, missed: Sequence[int], in_dram: Sequence[bool]) -> Sequence[Placed]:
        """Return a placement for each missed key."""
        ranked = sorted(range(len(event.keys)), key=lambda at: (event.gate_mass[at], -at))
        defers = event.decode and event.layer < self.context.n_layers - 1
        light = {event.keys[at] for at in ranked[: int(self.share * len(ranked))]} if defers else set()
        n = self.context.n_versions
        on_cpu = (LATER if key // n in light else CPU for key in missed)
        return [how if there else FETCH for how, there in zip(on_cpu, in_dram, strict=True)]
