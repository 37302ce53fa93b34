"""EdgeMoE's table: the experts of two layers foretell those of the next."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from policies.base import Context, Event, Prefetch, Wish

Pair = tuple[int, int]


class Transition(Prefetch):
    """Wishes for the ``most`` likeliest experts of the next layer, given those of this one and the last.

    A table counts, for each pair of experts of two neighbouring layers, how often a token that used
    both used each expert of the layer after. With several experts a token the counts of its pairs are added
    up. It is learnt from the training trace and goes on learning from what has run; the first MoE
    layer has no layer before it and predicts nothing.
    """

    cite = "Yi et al., EdgeMoE, IEEE TMC 2025, arXiv 2308.14352 (statistical predictor on two layers)"

    def __init__(self, most: Annotated[int, Field(ge=1)] | None = None) -> None:
        self.most = most
        self.counts: dict[Pair, dict[int, int]] = defaultdict(lambda: defaultdict(int))

    def bind(self, context: Context) -> None:
        """Learn from the training trace, if there is one."""
        super().bind(context)
        assert context.trace is not None
        self.experts = context.trace.experts
        if context.training is not None:
            rows = context.training.experts
            for layer in range(2, context.n_layers):
                self._learn(rows, range(len(rows)), layer)

    def wishes(self, event: Event, resident: Container[int]) -> Sequence[Wish]:
        """Learn from this step, then return the likeliest experts of the next layer."""
        layer, n = event.layer, self.context.n_experts
        if layer >= 2:
            self._learn(self.experts, event.rows, layer)
        if layer == 0 or layer + 1 == self.context.n_layers:
            return []
        likely: dict[int, int] = defaultdict(int)
        for row in event.rows:
            for pair in _pairs(self.experts[row], layer, n):
                for key, count in self.counts.get(pair, {}).items():
                    likely[key] += count
        total = sum(likely.values())
        ranked = sorted(likely.items(), key=lambda item: (-item[1], item[0]))
        most = self.most or self.context.top_k
        return [Wish(key * self.context.n_versions, 1, count / total) for key, count in ranked[:most]]

    def _learn(self, experts: np.ndarray, rows: Sequence[int], layer: int) -> None:
        """Count what each token used in ``layer`` after the pairs of the two layers before."""
        first = layer * self.context.n_experts
        for row in rows:
            used = [first + expert for expert in experts[row, layer].tolist() if expert >= 0]
            for pair in _pairs(experts[row], layer - 1, self.context.n_experts):
                after = self.counts[pair]
                for key in used:
                    after[key] += 1


def _pairs(token: np.ndarray, layer: int, n_experts: int) -> list[Pair]:
    """Return the pairs of keys that a token [L, k] used in the layer before ``layer`` and in it."""
    before, here = ((row, token[row].tolist()) for row in (layer - 1, layer))
    return [
        (before[0] * n_experts + a, here[0] * n_experts + b)
        for a in before[1]
        for b in here[1]
        if a >= 0 and b >= 0
    ]
