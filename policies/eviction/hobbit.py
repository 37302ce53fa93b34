"""HOBBIT's priority: recency, frequency, high-precision frequency and layer distance, weighted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from policies.base import Event
from policies.eviction.scored import Keys, ScoredInSequence, Scores

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
        self.last = np.zeros(self.n_experts, np.int64)
        self.uses = np.zeros(self.n_experts, np.int64)
        self.high_uses = np.zeros(self.n_experts, np.int64)

    def observe(self, event: Event, served: Sequence[int]) -> None:
        """Record the step's uses by expert."""
        super().observe(event, served)
        experts, versions = np.divmod(np.array(served, np.int64), self.context.n_versions)
        self.last[experts] = self.passes
        np.add.at(self.uses, experts, 1)
        np.add.at(self.high_uses, experts[versions == 0], 1)

    def scores(self, keys: Keys) -> Scores:
        """Return the priorities of eq. 3."""
        experts, t = keys // self.context.n_versions, max(1, self.passes)
        counted = (
            self.lru * self.last[experts] + self.lfu * self.uses[experts] + self.lhu * self.high_uses[experts]
        )
        scores: Scores = counted / t + self.fld * (1 - self.layers_ahead(keys) / self.context.n_layers)
        return scores
