"""HybriMoE's minus recent score: experts that the gate nearly chose are worth keeping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from policies.base import Context, Event
from policies.eviction.scored import Keys, Scored, Scores


class MRS(Scored):
    """Evicts the lowest S, where a step of the layer makes S = alpha x TopP(s) + (1 - alpha) x S.

    s are the gate's scores, the mean over the step's tokens; TopP keeps the ``top`` highest (2k if not
    given) and makes the others 0. Where the trace has the chosen experts' weights alone, the others' scores
    are 0.
    """

    needs = frozenset({"gate_weights"})
    cite = "Zhong et al., HybriMoE, DAC 2025, arXiv 2504.05897, section IV-D; alpha as in its code"

    def __init__(
        self, alpha: Annotated[float, Field(gt=0, le=1)] = 0.5, top: Annotated[int, Field(ge=1)] | None = None
    ) -> None:
        super().__init__()
        self.alpha, self.top = alpha, top

    def bind(self, context: Context) -> None:
        """Start the scores."""
        super().bind(context)
        self.estimate = np.zeros((context.n_layers, context.n_experts))
        trace = context.trace
        self.seen = None
        if trace is not None and trace.gate_top is not None and trace.gate_top_p is not None:
            self.seen = trace.gate_top, trace.gate_top_p

    def assumptions(self) -> Sequence[str]:
        """Say what is not seen."""
        return [] if self.seen is not None else ["MRS sees the weights of the chosen experts alone"]

    def observe(self, event: Event, served: Sequence[int]) -> None:
        """Move the layer's estimates."""
        super().observe(event, served)
        scores = np.zeros(self.context.n_experts)
        if self.seen is None:
            scores[np.array(event.keys, np.int64) % self.context.n_experts] = event.gate_mass
        else:
            at = np.asarray(event.rows, np.intp), event.layer
            chosen, weights = self.seen[0][at], self.seen[1][at].astype(np.float64)
            np.add.at(scores, chosen[chosen >= 0], weights[chosen >= 0])
        scores /= max(1, len(event.rows))
        top = self.top or 2 * self.context.top_k
        scores[np.argsort(-scores, kind="stable")[top:]] = 0.0
        layer = self.estimate[event.layer]
        layer += self.alpha * (scores - layer)

    def scores(self, keys: Keys) -> Scores:
        """Return the estimates."""
        found: Scores = self.estimate.ravel()[keys // self.context.n_versions]
        return found
