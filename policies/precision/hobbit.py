"""HOBBIT's token-level loading: the precision of an expert by its rank in the token's choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from policies.base import UNWANTED, Context, Event, Precision
from policies.published import is_mixtral_8x7b
from simulator.errors import InputError
from simulator.trace.core import Trace

HIGH, LOW = 0, 1
PUBLISHED = (0.6, 0.9)
"""T1 and T2 for Mixtral-8x7B."""
SHARES = (0.34, 0.94)
"""Of Mixtral's selections but the first, those up to T1 and up to T2 (67 % high and 30 % low of all)."""
Score = Annotated[float, Field(ge=0, le=1)]


class Hobbit(Precision):
    """High precision up to score ``high`` (T1), low up to ``low`` (T2), skipped above; the first is high.

    A token's experts are ranked by gate weight, normalised over its k; an expert's score is the sum of
    the weights ranked before it. Where a step serves several tokens, an expert gets the best that any
    of them asks for. It holds for misses: whatever is resident at that precision or better serves.

    On Mixtral-8x7B the thresholds are the published ones. On other models, or where ``high_share`` or
    ``low_share`` is given, they are quantiles: of all selections but the first, so many are loaded high,
    and high or low, in what is learnt from. Two numbers of the replayed tokens are no knowledge of
    what comes when, so a run is not marked for them; the results say where they are from. ``high``
    and ``low`` set the thresholds themselves.

    Scores and thresholds are rounded to the type of the trace's weights before they are compared
    (float16 or float32): weights recorded as .6 and .4 make a score of .6, which is not above T1.
    """

    needs = frozenset({"gate_weights"})
    cite = "Tang et al., HOBBIT, 2024, arXiv 2411.01433, section 3.2 (T1 = 0.6, T2 = 0.9 for Mixtral)"

    def __init__(
        self,
        high: Score | None = None,
        low: Score | None = None,
        high_share: Score | None = None,
        low_share: Score | None = None,
    ) -> None:
        self.thresholds = _pair((high, low), PUBLISHED)
        self.shares = _pair((high_share, low_share), SHARES)
        if self.thresholds and self.shares:
            raise ValueError("thresholds (high, low) and shares (high_share, low_share); give one of both")

    def check_training(self, trace: Trace) -> None:
        """Refuse one without gate weights, of which the thresholds would be quantiles."""
        if not self.thresholds and trace.weights is None:
            fault = "hobbit: it has no gate weights, of which the thresholds are quantiles"
            raise InputError("training_trace", fault, "state the policy's high and low")

    def bind(self, context: Context) -> None:
        """Take the weights, and settle the thresholds."""
        super().bind(context)
        trace = context.trace
        assert trace is not None
        assert trace.weights is not None
        self.experts, self.weights = trace.experts, trace.weights
        self.type = trace.weights.dtype
        published = None if self.shares or not is_mixtral_8x7b(context) else PUBLISHED
        known = self.thresholds or published
        self.quantiles = () if known else self._quantiles(context)
        self.high, self.low = self._rounded(np.array(known or self.quantiles or PUBLISHED)).tolist()

    def _quantiles(self, context: Context) -> tuple[float, ...]:
        """Return the thresholds of what is learnt from; reading that marks no run, see the class."""
        self.learns_beforehand = True
        assert context.learnt is not None
        found = _quantiles(context.learnt, self.shares or SHARES)
        self.learns_beforehand = False
        return found

    def assumptions(self) -> Sequence[str]:
        """Say where thresholds come from that the paper does not give."""
        said = []
        if self.quantiles and not self.shares:
            high, low = (f"{100 * share:g}" for share in SHARES)
            said.append(f"HOBBIT's thresholds are assumed at Mixtral's quantiles ({high} % and {low} %)")
        if self.quantiles and self.context.training is None:
            said.append("HOBBIT's thresholds are quantiles of the replayed tokens themselves")
        return said

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
        scores = self._rounded(_scores(weights))
        lowest = min(LOW, self.context.n_versions - 1)
        asked: dict[int, int] = {}
        for ids, row in zip(experts.tolist(), scores.tolist(), strict=True):
            for expert, score in zip(ids, row, strict=True):
                if expert >= 0 and score <= self.low:
                    version = HIGH if score <= self.high else lowest
                    asked[expert] = min(version, asked.get(expert, version))
        return asked

    def _rounded(self, numbers: np.ndarray) -> np.ndarray:
        """Return numbers as precise as the trace's weights are."""
        rounded: np.ndarray = numbers.astype(self.type)
        return rounded


def _pair(given: tuple[float | None, float | None], otherwise: tuple[float, float]) -> tuple[float, ...]:
    """Return (high, low), what is not given from ``otherwise``; () where neither is. Errors: ValueError."""
    if given == (None, None):
        return ()
    high, low = (other if number is None else number for number, other in zip(given, otherwise, strict=True))
    if low < high:
        raise ValueError("low is below high")
    return high, low


def _quantiles(learnt: Trace, shares: Sequence[float]) -> tuple[float, ...]:
    """Return the scores that such shares of a trace's selections but the first are up to.

    () where no token has a second expert: no score is above 0, and any thresholds will do.
    """
    assert learnt.weights is not None
    there = (learnt.experts >= 0).reshape(-1, learnt.header.top_k)
    weights = np.where(there, learnt.weights.reshape(there.shape), 0).astype(np.float64)
    order, before = _before(weights)
    scores = before[:, 1:][np.take_along_axis(there, order, axis=1)[:, 1:]]
    return tuple(float(np.quantile(scores, share)) for share in shares) if scores.size else ()


def _scores(weights: np.ndarray) -> np.ndarray:
    """Return for each choice [tokens, k] the normalised weight ranked before it (equal: in slot order)."""
    order, before = _before(np.asarray(weights, dtype=np.float64))
    scores: np.ndarray = np.empty_like(before)
    np.put_along_axis(scores, order, before, axis=1)
    return scores


def _before(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the slots of each row by falling weight, and the normalised weight ranked before each."""
    order = np.argsort(-weights, axis=1, kind="stable")
    ranked = np.take_along_axis(weights, order, axis=1)
    total = ranked.sum(axis=1, keepdims=True)
    share = np.divide(ranked, total, out=np.zeros_like(ranked), where=total > 0)
    before = np.zeros_like(share)
    np.cumsum(share[:, :-1], axis=1, out=before[:, 1:])
    return order, before
