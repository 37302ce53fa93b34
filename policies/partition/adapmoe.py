"""AdapMoE's partition: slots by layer that minimise the expected loads, by dynamic programming."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from typing import Annotated

import numpy as np
from pydantic import Field

from policies.base import Context, Partition
from simulator.errors import InputError
from simulator.trace.core import DECODE, Trace

Share = Annotated[float, Field(ge=0, le=1)]
PUBLISHED_K = 2
PerLayer = Share | list[Share]


class AdapMoE(Partition):
    """Gives layer l the k_l slots that minimise the sum of f(l, k_l), with as many slots in all as fit.

    f is the expected number of on-demand loads of a token, if any k_l of the layer's E experts were
    cached with equal chance: j missing ones cost j - 1 loads if they were predicted (with the layer's
    ``accuracy``), else j. A token uses one expert with the share ``single``, else all k. For E = 8 and
    k = 2 it is the paper's formula. For other k it is extended, and the results say so: a right prediction
    still hides one load, and a token uses one expert or all. Accuracies are measured on the recorded
    predictions of what is learnt from; where there are none, ``accuracy`` stands in for them: an
    assumption. Nobody predicts the first layer.
    """

    cite = "Zhong et al., AdapMoE, ICCAD 2024, arXiv 2408.10284, cache sizes by dynamic programming"

    learns_beforehand = True

    def __init__(self, accuracy: PerLayer | None = None, single: PerLayer = 0.0) -> None:
        self.accuracy, self.single = accuracy, single

    def check(self, trace: Trace) -> None:
        """Refuse a trace without predictions where no accuracy is assumed, and lists of another length."""
        n_layers = trace.header.n_layers
        if not trace.predicted and self.accuracy is None:
            hint = "state the accuracy to assume, such as accuracy: 0.86"
            raise InputError("policies.partition", "adapmoe: the trace has no recorded predictions", hint)
        for name, value in (("accuracy", self.accuracy), ("single", self.single)):
            if isinstance(value, list) and len(value) != n_layers:
                fault = f"adapmoe: {name} has {len(value)} entries"
                raise InputError("policies.partition", fault, f"one for each of {n_layers} MoE layers")

    def check_training(self, trace: Trace) -> None:
        """Refuse one without predictions where no accuracy is assumed."""
        if not trace.predicted and self.accuracy is None:
            hint = "state the accuracy to assume, such as accuracy: 0.86"
            raise InputError("training_trace", "adapmoe: it has no recorded predictions", hint)

    def bind(self, context: Context) -> None:
        """Settle the accuracies and ratios of all layers."""
        super().bind(context)
        source = context.learnt
        assert source is not None
        self.measured = self.learns_beforehand = bool(source.predicted)
        accuracy = [0.0, *_by_layer(self.accuracy or 0.0, context.n_layers)[1:]]
        self.accuracies = _measured(source) if self.measured else accuracy
        self.singles = _by_layer(self.single, context.n_layers)

    def assumptions(self) -> Sequence[str]:
        """Say whether the accuracies were measured, and the formula is the paper's."""
        said, k = [], self.context.top_k
        if not self.measured:
            said.append("the trace has no predictions: AdapMoE's partition assumes their accuracy")
        if k != PUBLISHED_K:
            said.append(f"AdapMoE's partition extends a formula for two experts a token to {k}")
        return said

    def pools(self, capacity_bytes: int, layer_bytes: Sequence[int]) -> Sequence[tuple[int, Sequence[int]]]:
        """Return a pool for each layer, in order; slots are as large as the largest expert."""
        n, slots = self.context.n_experts, capacity_bytes // max(layer_bytes)
        slots = min(slots, n * len(layer_bytes))
        best = np.zeros(1)
        chosen = []
        for accuracy, single in zip(self.accuracies, self.singles, strict=True):
            cost = [self._loads(k, accuracy, single) for k in range(n + 1)]
            longer = np.full(min(slots, len(best) - 1 + n) + 1, np.inf)
            choice = np.zeros(len(longer), dtype=np.int64)
            for k, loads in enumerate(cost[: len(longer)]):
                end = min(len(longer), len(best) + k)
                here = best[: end - k] + loads
                better = here < longer[k:end]
                longer[k:end][better] = here[better]
                choice[k:end][better] = k
            best = longer
            chosen.append(choice)
        left, sizes = len(best) - 1, []
        for choice in reversed(chosen):
            sizes.append(int(choice[left]))
            left -= sizes[-1]
        by_layer = zip(reversed(sizes), layer_bytes, strict=True)
        return [(k * size, (layer,)) for layer, (k, size) in enumerate(by_layer)]

    def _loads(self, cached: int, accuracy: float, single: float) -> float:
        """Return f: the expected loads of a token with so many cached experts."""
        n, k = self.context.n_experts, self.context.top_k
        return single * _expected(n, 1, cached, accuracy) + (1 - single) * _expected(n, k, cached, accuracy)


def _expected(n: int, k: int, cached: int, accuracy: float) -> float:
    missing = range(1, min(k, n - cached) + 1)
    ways = ((j, comb(n - cached, j) * comb(cached, k - j) / comb(n, k)) for j in missing)
    return sum(share * (j - accuracy) for j, share in ways)


def _by_layer(value: PerLayer, n_layers: int) -> list[float]:
    return list(value) if isinstance(value, list) else [value] * n_layers


def _measured(trace: Trace) -> list[float]:
    """Return, for each layer, the share of used experts that the layer before foretold while decoding."""
    n_layers = trace.header.n_layers
    found = [0.0] * n_layers
    rows = trace.phase == DECODE
    for layer in range(1, n_layers):
        said, used = trace.predicted[0][rows, layer - 1], trace.experts[rows, layer]
        there = used >= 0
        if there.any():
            hit = (used[:, :, None] == said[:, None, :]).any(axis=2) & there
            found[layer] = float(hit.sum() / there.sum())
    return found
