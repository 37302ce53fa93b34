"""LCU of MoE-APEX: least costly uses, and the experts of the last pass by how soon they are due."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from policies.base import Event
from policies.eviction.scored import Keys, ScoredInSequence, Scores


class LCU(ScoredInSequence):
    """Evicts the lowest C/T + 1/(ahead + delta), with C = H + (low bytes / high bytes) L.

    H and L are an expert's high- and low-precision uses in the sequence, T its passes so far. The second
    term holds for experts of the last complete or the present pass; ``ahead`` is the number of layers to
    the expert's own.
    """

    cite = "Tang et al., MoE-APEX, ASPLOS 2026, doi 10.1145/3779212.3790187"

    def __init__(self, delta: Annotated[float, Field(gt=0)] = 0.1) -> None:
        super().__init__()
        self.delta = delta

    def forget(self) -> None:
        """Start the records anew."""
        self.cost = np.zeros(self.n_experts)
        self.used_in = np.full(self.n_experts, -2)

    def observe(self, event: Event, served: Sequence[int]) -> None:
        """Add what the step's uses would have cost as misses."""
        super().observe(event, served)
        sizes, layer = self.context.sizes, event.layer
        for key in served:
            expert, version = divmod(key, self.context.n_versions)
            self.cost[expert] += sizes[version][layer] / sizes[0][layer] if version else 1.0
            self.used_in[expert] = self.passes

    def scores(self, keys: Keys) -> Scores:
        """Return the priorities."""
        experts = keys // self.context.n_versions
        due = 1 / (self.layers_ahead(keys) + self.delta)
        of_last_pass = self.used_in[experts] >= self.passes - 1
        scores: Scores = self.cost[experts] / max(1, self.passes) + np.where(of_last_pass, due, 0.0)
        return scores
