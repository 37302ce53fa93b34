"""AdapMoE's gating: weak experts are left out where a layer does not mind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from policies.base import Context, Event, Routing
from policies.published import is_mixtral_8x7b
from simulator.errors import InputError
from simulator.trace.core import Trace

MIXTRAL = (
    46.692, 17.303, 13.016, 7.641, 4.169, 2.230, 1.256, 0.844, 0.684, 0.560, 0.513, 0.478, 0.445, 0.436,
    0.384, 0.310, 0.233, 0.176, 0.138, 0.114, 0.105, 0.0954, 0.0862, 0.0771, 0.0694, 0.0611,
    0.0502, 0.0426, 0.0335, 0.0253, 0.0207, 0.0229,
)  # fmt: skip
"""Sensitivity of Mixtral-8x7B's layers, as AdapMoE's code has it."""
PUBLISHED_K = 2
TYPICAL = math.exp(sum(map(math.log, MIXTRAL)) / len(MIXTRAL))


class AdaptiveGating(Routing):
    """Drops, while decoding, a token's weakest experts, together below sqrt(T / sensitivity of the layer).

    Weights are normalised over k; the first expert always stays. A step drops an expert if every token
    that uses it would. AdapMoE states it for k = 2, where it is a limit to the second weight. Without
    experts of mass m together, and with the others' weights divided by 1 - m, a layer's output moves by
    m times the difference of two averages, that of what is dropped and of what stays; a loss of second order
    grows by sensitivity x m^2. So for any k the bound T is one to the sum.

    The sensitivities are those of Mixtral-8x7B for that model; for others, unless given, their geometric
    mean is assumed for every layer.
    """

    needs = frozenset({"gate_weights"})
    cite = "Zhong et al., AdapMoE, ICCAD 2024, arXiv 2408.10284 (adaptive gating; T = 0.005)"

    def __init__(
        self,
        threshold: Annotated[float, Field(ge=0)] = 0.005,
        sensitivity: list[Annotated[float, Field(gt=0)]] | None = None,
    ) -> None:
        self.threshold, self.sensitivity = threshold, sensitivity

    def check(self, trace: Trace) -> None:
        """Refuse a list of sensitivities of another length than the trace has layers."""
        if self.sensitivity is not None and len(self.sensitivity) != trace.header.n_layers:
            fault = f"adaptive-gating: sensitivity has {len(self.sensitivity)} entries"
            raise InputError("policies.routing", fault, f"one for each of {trace.header.n_layers} MoE layers")

    def bind(self, context: Context) -> None:
        """Settle the limit of every layer."""
        super().bind(context)
        assert context.trace is not None
        assert context.trace.weights is not None
        self.experts, self.weights = context.trace.experts, context.trace.weights
        known = is_mixtral_8x7b(context)
        self.assumed = self.sensitivity is None and not known
        layers = self.sensitivity or (MIXTRAL if known else [TYPICAL] * context.n_layers)
        self.limits = [math.sqrt(self.threshold / sensitivity) for sensitivity in layers]

    def assumptions(self) -> Sequence[str]:
        """Say whose sensitivities these are, and where the rule is not the paper's to the letter."""
        said = ["AdapMoE's layer sensitivity is assumed (Mixtral's mean)"] if self.assumed else []
        if (k := self.context.top_k) > PUBLISHED_K:
            said.append(f"AdapMoE's limit to the second of two is one to the sum of the weakest of {k}")
        return said

    def rewrite(self, event: Event, hit: Sequence[bool]) -> Sequence[int]:
        """Return -1 for each key that no token needs."""
        if not event.decode:
            return event.keys
        at = np.asarray(event.rows, dtype=np.intp), event.layer
        experts = self.experts[at]
        weights = np.where(experts >= 0, self.weights[at], 0).astype(np.float64)
        strong = _stay(weights, self.limits[event.layer])
        first = event.layer * self.context.n_experts
        kept = {first + expert for expert in experts[strong].tolist()}
        return [key if key in kept else -1 for key in event.keys]


def _stay(weights: np.ndarray, limit: float) -> np.ndarray:
    """Return which experts [tokens, k] stay: all but a row's weakest that are below ``limit`` together.

    Of equal weights the later slot is the weaker one.
    """
    order = np.argsort(-weights, axis=1, kind="stable")
    ranked = np.take_along_axis(weights, order, axis=1)
    with_weaker = np.cumsum(ranked[:, ::-1], axis=1)[:, ::-1]  # each one's weight and all weaker ones'
    stays = with_weaker >= limit * ranked.sum(axis=1, keepdims=True)
    stays[:, 0] = True
    found: np.ndarray = np.empty_like(stays)
    np.put_along_axis(found, order, stays, axis=1)
    return found
