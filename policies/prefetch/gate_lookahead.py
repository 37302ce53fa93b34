"""Gate lookahead: what the next layers' gates say of this layer's input."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import repeat
from typing import Annotated

import numpy as np
from pydantic import Field

from policies.base import Context, Event, Prefetch, Wish
from simulator.errors import InputError


class GateLookahead(Prefetch):
    """Wishes for the experts that the gates of the next ``n_layers`` layers choose, nearest layer first.

    The gates were fed this layer's gate input when the trace was recorded. A step's prediction is
    the union over its tokens, ranked by predicted gate mass (normalised over k, summed over
    tokens); where weights were not recorded, a token's choices weigh as k, k-1, ..., 1. Ties:
    lowest key first. ``bind`` raises InputError if the trace does not look that far ahead.
    """

    needs = frozenset({"predictions"})
    cite = "Eliseev and Mazur, mixtral-offloading, 2023, arXiv 2312.17238 (speculative expert loading)"

    def __init__(self, n_layers: Annotated[int, Field(ge=1)] = 1) -> None:
        self.n_layers = n_layers

    def bind(self, context: Context) -> None:
        """Take the recorded predictions."""
        super().bind(context)
        trace = context.trace
        assert trace is not None
        self.predicted, self.weights = trace.predicted, trace.predicted_weights
        recorded = len(self.predicted)
        if self.n_layers > recorded:
            fault = f"gate-lookahead: n_layers: {self.n_layers}"
            raise InputError("policies.prefetch", fault, f"the trace predicts {recorded} layers ahead")

    def wishes(self, event: Event, resident: Container[int]) -> Sequence[Wish]:
        """Return the predicted experts of the next layers of this pass."""
        return [wish for layers in range(1, self.n_layers + 1) for wish in self._ahead(event, layers)]

    def _ahead(self, event: Event, layers: int) -> Iterator[Wish]:
        at = np.asarray(event.rows, dtype=np.intp), event.layer
        experts = self.predicted[layers - 1][at]
        weights: Iterable[list[float]] = repeat([float(n) for n in range(experts.shape[1], 0, -1)])
        if self.weights:
            weights = self.weights[layers - 1][at].tolist()
        mass: dict[int, float] = {}
        for chosen, scores in zip(experts.tolist(), weights, strict=False):
            whole = sum(scores) or 1.0
            for expert, score in zip(chosen, scores, strict=True):
                if expert >= 0:
                    mass[expert] = mass.get(expert, 0.0) + score / whole
        first = (event.layer + layers) * self.context.n_experts
        for expert, score in sorted(mass.items(), key=lambda item: (-item[1], item[0])):
            yield Wish(first + expert, layers, score)
