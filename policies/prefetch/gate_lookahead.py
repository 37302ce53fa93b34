"""Gate lookahead: what the next layers' gates say of this layer's input."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from policies.base import Event, Prefetch, Wish
from simulator.errors import InputError


class GateLookahead(Prefetch):
    """Wishes for the experts that the gates of the next ``n_layers`` layers choose, nearest layer first.

    The gates were fed this layer's gate input when the trace was recorded. A step's prediction is
    the union over its tokens, ranked by summed gate weight; where weights were not recorded a
    token gives its choices k, k-1, ..., 1 points. Ties: lowest key first.
    """

    needs = frozenset({"predictions"})
    cite = "Eliseev and Mazur, mixtral-offloading, 2023, arXiv 2312.17238 (speculative expert loading)"

    def __init__(self, n_layers: Annotated[int, Field(ge=1)] = 1) -> None:
        self.n_layers = n_layers

    def bind_predictions(
        self,
        predicted: tuple[npt.NDArray[np.int16], ...],
        weights: tuple[npt.NDArray[np.floating], ...] = (),
    ) -> None:
        """Take the trace's ``predicted[d - 1]`` [T, L, k] of the layer d ahead, and their weights.

        Errors: InputError (the trace does not look as far ahead as ``n_layers``).
        """
        if self.n_layers > len(predicted):
            what = f"gate-lookahead: n_layers: {self.n_layers} is too many"
            raise InputError("policies.prefetch", what, f"the trace predicts {len(predicted)} layers ahead")
        self.predicted, self.weights = predicted, weights

    def wishes(self, event: Event, resident: Container[int]) -> Sequence[Wish]:
        """Return the predicted experts of the next layers of this pass."""
        return [wish for layers in range(1, self.n_layers + 1) for wish in self._ahead(event, layers)]

    def _ahead(self, event: Event, layers: int) -> Iterator[Wish]:
        at = np.asarray(event.rows, dtype=np.intp), event.layer
        experts = self.predicted[layers - 1][at]
        if self.weights:
            scores = self.weights[layers - 1][at].astype(np.float64)
        else:
            scores = np.broadcast_to(np.arange(experts.shape[1], 0.0, -1.0), experts.shape)
        total: dict[int, float] = {}
        for expert, score in zip(experts.ravel().tolist(), scores.ravel().tolist(), strict=True):
            if expert >= 0:
                total[expert] = total.get(expert, 0.0) + score
        first = (event.layer + layers) * self.context.n_experts
        for expert, score in sorted(total.items(), key=lambda item: (-item[1], item[0])):
            yield Wish(first + expert, layers, score)
