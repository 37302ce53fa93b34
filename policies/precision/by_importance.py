"""EdgeMoE's bit widths: the least important experts of all are kept at the lower precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field

from policies.base import Context, Event, Precision

HIGH, LOW = 0, 1


class ByImportance(Precision):
    """Keeps the ``low_share`` least important experts at the second precision, the others at the first.

    Each expert exists in one version only. EdgeMoE ranks experts by the accuracy that each one's
    quantisation costs, which no trace tells: here the least used in what is learnt from count as the
    least important (of equal ones the lower key).
    """

    cite = "Yi et al., EdgeMoE, IEEE TMC 2025, arXiv 2308.14352 (expert-wise bit-width adaptation)"

    learns_beforehand = True

    def __init__(self, low_share: Annotated[float, Field(ge=0, le=1)] = 0.5) -> None:
        self.low_share = low_share

    def bind(self, context: Context) -> None:
        """Rank the experts."""
        super().bind(context)
        assert context.popularity is not None
        counts = context.popularity.ravel().tolist()
        ranked = sorted(range(len(counts)), key=lambda key: (counts[key], key))
        low = min(LOW, context.n_versions - 1)
        self.version = [HIGH] * len(counts)
        for key in ranked[: int(self.low_share * len(counts))]:
            self.version[key] = low

    def assumptions(self) -> Sequence[str]:
        """Say what stands for importance."""
        source = "what is learnt from" if self.context.training else "the replayed tokens themselves"
        return [f"EdgeMoE's importance of experts is assumed to be their use in {source}"]

    def wanted(self, event: Event) -> Sequence[int]:
        """Return the one version of each expert."""
        return [self.version[key] for key in event.keys]

    def foreseen(
        self, experts: Sequence[Sequence[int]], weights: Sequence[Sequence[float]], layer: int
    ) -> Mapping[int, int]:
        """Return the one version of each expert."""
        first = layer * self.context.n_experts
        return {expert: self.version[first + expert] for row in experts for expert in row if expert >= 0}
