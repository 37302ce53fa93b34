"""MoE-Infinity's cache: predicted activation, and early layers first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from policies.activation_matrix import ActivationMatrices
from policies.base import Context, Event
from policies.eviction.scored import Keys, Scored, Scores

EPSILON = 1e-6


class ActivationAware(Scored):
    """Evicts the lowest (predicted activation + epsilon) x (1 - layer / L).

    The prediction is the row-normalised activation matrix of the ``matches`` finished sequences most
    like the present one, of a collection of ``capacity``. The paper does not print epsilon: 1e-6 is
    the constant in its code.
    """

    cite = "Xue et al., MoE-Infinity, 2024, arXiv 2401.14361 (activation-aware caching)"

    def __init__(
        self, capacity: Annotated[int, Field(ge=1)] = 120, matches: Annotated[int, Field(ge=1)] = 1
    ) -> None:
        super().__init__()
        self.capacity, self.matches = capacity, matches
        self.now = -1

    def bind(self, context: Context) -> None:
        """Start the collection."""
        super().bind(context)
        self.learns_beforehand = context.training is not None
        self.matrices = ActivationMatrices(context, self.capacity, self.matches)

    def on_sequence_start(self) -> None:
        """The last sequence is complete."""
        super().on_sequence_start()
        self.matrices.end_sequence()

    def observe(self, event: Event, served: Sequence[int]) -> None:
        """Count the step."""
        super().observe(event, served)
        self.matrices.add(event)
        self.now = event.index

    def scores(self, keys: Keys) -> Scores:
        """Return the priorities."""
        layers, experts = np.divmod(keys // self.context.n_versions, self.context.n_experts)
        activation = self.matrices.predicted(self.now)[layers, experts]
        scores: Scores = (activation + EPSILON) * (1 - layers / self.context.n_layers)
        return scores
