"""HOBBIT's token-level loading: the precision of an expert by its rank in the token's choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from policies.base import UNWANTED, Context, Event, Precision

HIGH, LOW = 0, 1
Score = Annotated[float, Field(ge=0, le=1)]


class Hobbit(Precision):
    """High precision up to score ``high`` (T1), low up to ``low`` (T2), skipped above; the first is high.

    A token's experts are ranked by gate weight, normalised over its k; an expert's score is the sum of
    the weights ranked before it. Where a step serves several tokens, an expert gets the best that any
    of them asks for. It holds for misses: whatever is resident at that precision or better serves.

    The thresholds are Mixtral's. ``high_share`` and ``low_share`` set them for another model as
    quantiles instead: of all selections but the first, as many are loaded high, and high or low, in the
    training trace (or, without one, in the trace itself: said in the results).
    """

    needs = frozenset({"gate_weights"})
    cite = "Tang et al., HOBBIT, 2024, arXiv 2411.01433, section 3.2 (T1 = 0.6, T2 = 0.9 for Mixtral)"

    def __init__(
        self,
        high: Score = 0.6,
        low: Score = 0.9,
        high_share: Score | None = None,
        low_share: Score | None = None,
    ) -> None:
        self.high, self.low = high, low
        self.shares = (high_share, low_share)
        if (high_share is None) != (low_share is None):
            raise ValueError("high_share and low_share belong together")
        if low < high or (high_share is not None and low_share is not None and low_share < high_share):
            raise ValueError("low is below high")

    def bind(self, context: Context) -> None:
        """Take the weights, and the thresholds from their quantiles where shares are given."""
        super().bind(context)
        trace = context.trace
        assert trace is not None
        assert trace.weights is not None
        self.experts, self.weights = trace.experts, trace.weights
        if self.shares[0] is not None:
            learnt = context.training or trace
            assert learnt.weights is not None
            rows = learnt.weights.reshape(-1, learnt.header.top_k)[learnt.experts[:, :, 0].ravel() >= 0]
            scores = np.sort(_scores(rows)[:, 1:], axis=None)
            self.high, self.low = (float(np.quantile(scores, share or 0.0)) for share in self.shares)

    def assumptions(self) -> Sequence[str]:
        """Say where thresholds come from that the paper does not give."""
        if self.shares[0] is None or self.context.training is not None:
            return []
        return ["HOBBIT's thresholds are quantiles of the replayed trace itself"]

    def wanted(self, event: Event) -> Sequence[int]:
        """Return the version for each key of the event."""
        at = np.asarray(event.rows, dtype=np.intp), event.layer
        asked = self._asked(self.experts[at], self.weights[at])
        first = event.layer * self.context.n_experts
        return [asked.get(key - first, UNWANTED) for key in event.keys]

    def foreseen(
        self, experts: Sequence[Sequence[int]], weights: Sequence[Sequence[float]], layer: int
    ) -> Mapping[int, int]:
        """Return the version that predicted choices ask for."""
        return self._asked(np.asarray(experts), np.asarray(weights))

    def accepts(self, version: int, wanted: int) -> bool:
        """Whatever is at least as good serves; everything does where nothing is wanted."""
        return wanted == UNWANTED or version <= wanted

    def _asked(self, experts: np.ndarray, weights: np.ndarray) -> dict[int, int]:
        """Return the best version that any token asks for, by expert; [tokens, k] each."""
        scores = _scores(weights)
        lowest = min(LOW, self.context.n_versions - 1)
        asked: dict[int, int] = {}
        for ids, row in zip(experts.tolist(), scores.tolist(), strict=True):
            for expert, score in zip(ids, row, strict=True):
                if expert >= 0 and score <= self.low:
                    version = HIGH if score <= self.high else lowest
                    asked[expert] = min(version, asked.get(expert, version))
        return asked


def _scores(weights: np.ndarray) -> np.ndarray:
    """Return for each choice [tokens, k] the normalised weight ranked before it (equal: in slot order)."""
    weights = np.asarray(weights, dtype=np.float64)
    order = np.argsort(-weights, axis=1, kind="stable")
    ranked = np.take_along_axis(weights, order, axis=1)
    total = ranked.sum(axis=1, keepdims=True)
    share = np.divide(ranked, total, out=np.zeros_like(ranked), where=total > 0)
    before = np.zeros_like(share)
    np.cumsum(share[:, :-1], axis=1, out=before[:, 1:])
    scores: np.ndarray = np.empty_like(before)
    np.put_along_axis(scores, order, before, axis=1)
    return scores
