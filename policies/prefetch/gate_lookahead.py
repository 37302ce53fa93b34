"""Gate lookahead: what the next layers' gates say of this layer's input."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Annotated

from pydantic import Field

from policies.base import Context, Event, Prefetch, Wish
from policies.prefetch.predictor import Assumed, check_reach, predictor
from simulator.trace.core import Trace

Share = Annotated[float, Field(ge=0, le=1)]


class GateLookahead(Prefetch):
    """Wishes for the experts that the gates of the next ``n_layers`` layers choose, nearest layer first.

    A step's prediction is the union over its tokens, ranked by predicted gate mass (normalised over k,
    summed over tokens; ties: lowest key first), at the precision that its weights ask for; an expert
    that is resident in a version that serves is wished in that one. ``adaptive`` goes a layer further only
    when all that is predicted for the nearer ones is resident (HOBBIT). ``most`` limits the experts a
    layer. Nearer layers than ``first`` are left alone (ProMoE's stride). Where the trace has no recorded
    predictions, or ``stated`` says that another predictor than the gates is meant, ``accuracy`` (one share a
    layer of distance) stands in for them: an assumption.
    """

    cite = (
        "Eliseev and Mazur, mixtral-offloading, 2023, arXiv 2312.17238; adaptive: "
        "Tang et al., HOBBIT, 2024, arXiv 2411.01433, section 3.3"
    )

    def __init__(
        self,
        n_layers: Annotated[int, Field(ge=1)] = 1,
        accuracy: list[Share] | None = None,
        most: Annotated[int, Field(ge=1)] | None = None,
        *,
        adaptive: bool = False,
        first: Annotated[int, Field(ge=1)] = 1,
        stated: bool = False,
    ) -> None:
        self.n_layers, self.accuracy, self.most, self.adaptive = n_layers, accuracy, most, adaptive
        self.first, self.stated = first, stated

    def check(self, trace: Trace) -> None:
        """Refuse a trace that does not look that far ahead, where no accuracy is assumed either."""
        check_reach(trace, self.n_layers, self.accuracy, stated=self.stated)

    def bind(self, context: Context) -> None:
        """Find who predicts."""
        super().bind(context)
        self.predictor = predictor(context, self.n_layers, self.accuracy, stated=self.stated)

    def assumptions(self) -> Sequence[str]:
        """Say whether the predictions were recorded."""
        if not isinstance(self.predictor, Assumed):
            return []
        shares = ", ".join(f"{share:g}" for share in (self.accuracy or [])[: self.n_layers])
        why = "a predictor of its own" if self.stated else "the trace has no predictions"
        return [f"{why}: an accuracy of {shares} by layers ahead is assumed"]

    def wishes(self, event: Event, resident: Container[int]) -> Sequence[Wish]:
        """Return the predicted experts of the next layers of this pass."""
        found: list[Wish] = []
        for ahead in range(self.first, min(self.n_layers, self.context.n_layers - 1 - event.layer) + 1):
            wishes = self._ahead(event, ahead, resident)
            found += wishes
            if self.adaptive and any(wish.key not in resident for wish in wishes):
                break
        return found

    def _ahead(self, event: Event, ahead: int, resident: Container[int]) -> list[Wish]:
        experts, weights = self.predictor.choices(event.rows, event.layer, ahead)
        mass: dict[int, float] = {}
        for chosen, scores in zip(experts, weights, strict=True):
            whole = sum(scores) or 1.0
            for expert, score in zip(chosen, scores, strict=True):
                if expert >= 0:
                    mass[expert] = mass.get(expert, 0.0) + score / whole
        n, layer = self.context.n_versions, event.layer + ahead
        asked = None
        if n > 1 and self.context.precision is not None:
            asked = self.context.precision.foreseen(experts, weights, layer)
            mass = {expert: score for expert, score in mass.items() if expert in asked}
        ranked = sorted(mass.items(), key=lambda item: (-item[1], item[0]))[: self.most]
        first = layer * self.context.n_experts
        return [
            Wish(self._version((first + expert) * n, asked[expert] if asked else 0, resident), ahead, score)
            for expert, score in ranked
        ]

    def _version(self, base: int, wanted: int, resident: Container[int]) -> int:
        """Return the key of the version that serves: a resident one if it does, else the wanted one."""
        precision = self.context.precision
        if precision is None or base + wanted in resident:
            return base + wanted
        serving = (v for v in range(self.context.n_versions) if precision.accepts(v, wanted))
        return next((base + v for v in serving if base + v in resident), base + wanted)
