"""HOBBIT's priority: recency, frequency, high-precision frequency and layer distance, weighted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from policies.base import Event
from policies.eviction.scored import ScoredInSequence

Weight = Annotated[float, Field(ge=0, le=1)]


class Hobbit(ScoredInSequence):
    """Evicts the lowest w_lru R/T + w_lfu F/T + w_lhu H/T + w_fld (1 - ahead/L), counted within the sequence.

    R is the pass of the last use, F the uses and H the high-precision uses of an expert (whatever its
    version), T the passes so far: a step uses an expert once, however many tokens it serves. ``ahead``
    is the number of layers to the expert's own. All records end with the sequence. The weights sum to
    1; the paper does not print them: equal ones are assumed unless given.
    """

    cite = "Tang et al., HOBBIT, 2024, arXiv 2411.01433, section 3.4, eq. 3"

    def __init__(
        self, lru: Weight = 0.25, lfu: Weight = 0.25, lhu: Weight = 0.25, fld: Weight = 0.25
    ) -> None:
        super().__init__()
        if not math.isclose(lru + lfu + lhu + fld, 1, abs_tol=1e-6):
            raise ValueError(f"lru, lfu, lhu and fld are {lru + lfu + lhu + fld:g} together, not 1")
        self.lru, self.lfu, self.lhu, self.fld = lru, lfu, lhu, fld

    def assumptions(self) -> Sequence[str]:
        """Say that weights of all four are ours; one alone is an experiment's own choice."""
        weights = (self.lru, self.lfu, self.lhu, self.fld)
        if not all(weights):
            return []
        said = "assumed equal" if len(set(weights)) == 1 else ", ".join(f"{one:g}" for one in weights)
        return [f"HOBBIT's cache weights are {said} (the paper prints none)"]

    def forget(self) -> None:
        """Start the records anew."""
        self.last: dict[int, int] = {}
        self.uses: dict[int, int] = {}
        self.high_uses: dict[int, int] = {}

    def observe(self, event: Event, served: Sequence[int]) -> None:
        """Record the step's uses by expert."""
        super().observe(event, served)
        for key in served:
            expert, version = divmod(key, self.context.n_versions)
            self.last[expert] = self.passes
            self.uses[expert] = self.uses.get(expert, 0) + 1
            if version == 0:
                self.high_uses[expert] = self.high_uses.get(expert, 0) + 1

    def score(self, key: int) -> float:
        """Return the priority of eq. 3."""
        expert, t = key // self.context.n_versions, max(1, self.passes)
        counted = (
            self.lru * self.last.get(expert, 0)
            + self.lfu * self.uses.get(expert, 0)
            + self.lhu * self.high_uses.get(expert, 0)
        )
        return counted / t + self.fld * (1 - self.layers_ahead(key) / self.context.n_layers)
