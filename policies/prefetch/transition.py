"""EdgeMoE's table: the experts of two layers foretell those of the next."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from policies.base import Context, Event, Prefetch, Wish

Ids = npt.NDArray[np.integer]


class Transition(Prefetch):
    """Wishes for the ``most`` likeliest experts of the next layer, given those of this one and the last.

    A table counts, for each pair of experts of two neighbouring layers, how often a token that used
    both used each expert of the layer after. With several experts a token the counts of its pairs are added
    up. It is learnt from the training tokens and goes on learning from what has run; the first MoE
    layer has no layer before it and predicts nothing.

    It has a row of counts for each pair that was seen, layer by layer, in the smallest numbers that hold
    the number of tokens: most pairs of a large model are never seen, and each table grows by itself.
    """

    cite = "Yi et al., EdgeMoE, IEEE TMC 2025, arXiv 2308.14352 (statistical predictor on two layers)"

    def __init__(self, most: Annotated[int, Field(ge=1)] | None = None) -> None:
        self.most = most

    def bind(self, context: Context) -> None:
        """Learn from the training tokens, if there are any."""
        super().bind(context)
        assert context.trace is not None
        self.experts = context.trace.experts
        n = context.n_experts
        n_tokens = len(self.experts) + (0 if context.training is None else len(context.training.experts))
        smallest = np.min_scalar_type(n_tokens)
        self.row_of = np.zeros((context.n_layers, n, n), np.int32)  # by the second's layer; 0: never seen
        self.counts = [np.zeros((1, n), smallest) for _ in range(context.n_layers)]
        self.n_rows = [1] * context.n_layers
        self.learns_beforehand = context.training is not None
        if context.training is not None:
            rows = context.training.experts
            for layer in range(2, context.n_layers):
                self._learn(rows, range(len(rows)), layer)

    def wishes(self, event: Event, resident: Container[int]) -> Sequence[Wish]:
        """Learn from this step, then return the likeliest experts of the next layer."""
        layer, context = event.layer, self.context
        if layer >= 2:
            self._learn(self.experts, event.rows, layer)
        if layer == 0 or layer + 1 == context.n_layers:
            return []
        likely = np.zeros(context.n_experts, np.int64)
        for token in event.rows:
            before, here = map(_used, self.experts[token, layer - 1 : layer + 1])
            rows = self.row_of[layer, before[:, None], here]
            likely += self.counts[layer][rows].sum(axis=(0, 1), dtype=np.int64)
        total, first = int(likely.sum()), (layer + 1) * context.n_experts
        ranked = np.argsort(-likely, kind="stable")[: self.most or context.top_k].tolist()
        counted = [(expert, int(likely[expert])) for expert in ranked]
        return [Wish((first + e) * context.n_versions, 1, count / total) for e, count in counted if count]

    def _learn(self, experts: Ids, tokens: Sequence[int], layer: int) -> None:
        """Count what each token used in ``layer`` after the pairs of the two layers before."""
        for token in tokens:
            before, here, after = map(_used, experts[token, layer - 2 : layer + 1])
            rows = self.row_of[layer - 1, before[:, None], here]
            if not rows.all():
                rows[rows == 0] = self._new_rows(layer - 1, int(np.count_nonzero(rows == 0)))
                self.row_of[layer - 1, before[:, None], here] = rows
            self.counts[layer - 1][rows[..., None], after] += 1

    def _new_rows(self, layer: int, n: int) -> range:
        """Return the next ``n`` rows of a layer's table, which doubles where it is full."""
        first, last = self.n_rows[layer], self.n_rows[layer] + n
        table = self.counts[layer]
        if last > len(table):
            n_experts = table.shape[1]
            self.counts[layer] = np.zeros((min(2 * last, n_experts**2 + 1), n_experts), table.dtype)
            self.counts[layer][:first] = table[:first]
        self.n_rows[layer] = last
        return range(first, last)


def _used(ids: Ids) -> Ids:
    """Return the experts of a token's slots, without the empty ones."""
    return ids[ids >= 0]
