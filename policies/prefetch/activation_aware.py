"""MoE-Infinity's prefetch: what sequences like this one activated."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from policies.activation_matrix import ActivationMatrices
from policies.base import Context, Event, Prefetch, Wish


class ActivationAware(Prefetch):
    """Wishes by predicted activation x (1 - layers ahead / L), over all later layers of the pass, best first.

    The prediction is the activation matrix of the ``matches`` finished sequences that are most like
    the present one, of a collection of ``capacity``. ``most`` limits the wishes of a step: later
    ones would be asked for again at the next step anyhow.
    """

    cite = "Xue et al., MoE-Infinity, 2024, arXiv 2401.14361 (activation-aware prefetching)"

    def __init__(
        self,
        capacity: Annotated[int, Field(ge=1)] = 120,
        matches: Annotated[int, Field(ge=1)] = 1,
        most: Annotated[int, Field(ge=1)] = 16,
    ) -> None:
        self.capacity, self.matches, self.most = capacity, matches, most

    def bind(self, context: Context) -> None:
        """Start the collection."""
        super().bind(context)
        self.learns_beforehand = context.training is not None
        self.matrices = ActivationMatrices(context, self.capacity, self.matches)

    def on_sequence_start(self) -> None:
        """The last sequence is complete."""
        self.matrices.end_sequence()

    def wishes(self, event: Event, resident: Container[int]) -> Sequence[Wish]:
        """Count this step, then return what is likeliest and nearest."""
        self.matrices.add(event)
        context = self.context
        ahead = np.arange(context.n_layers) - event.layer
        near = np.where(ahead > 0, 1 - ahead / context.n_layers, 0.0)
        scores = (self.matrices.predicted(event.index) * near[:, None]).ravel()
        best = np.argsort(-scores, kind="stable")[: self.most].tolist()
        return [
            Wish(key * context.n_versions, key // context.n_experts - event.layer, float(scores[key]))
            for key in best
            if scores[key] > 0
        ]
