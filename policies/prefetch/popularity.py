"""Popularity: the most used experts of the next layers."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Annotated

from pydantic import Field

from policies.base import Context, Event, Prefetch, Wish


class Popularity(Prefetch):
    """Wishes for the ``most`` most used experts of each of the next ``n_layers`` layers, counted so far.

    Counting starts from the training tokens, if there are any; experts never used are not wished for. Ties:
    lowest key.
    """

    cite = (
        "Eliseev and Mazur, mixtral-offloading, 2023, arXiv 2312.17238 (expert reuse; frequency as predictor)"
    )

    def __init__(
        self, n_layers: Annotated[int, Field(ge=1)] = 1, most: Annotated[int, Field(ge=1)] | None = None
    ) -> None:
        self.n_layers, self.most = n_layers, most

    def bind(self, context: Context) -> None:
        """Start from the counts of the training tokens."""
        super().bind(context)
        self.learns_beforehand = context.training is not None
        counts = context.popularity if context.training is not None else None
        size = context.n_layers * context.n_experts
        self.counts: list[int] = [0] * size if counts is None else counts.ravel().tolist()

    def wishes(self, event: Event, resident: Container[int]) -> Sequence[Wish]:
        """Count this step, then return the popular experts of the next layers."""
        for key, tokens in zip(event.keys, event.tokens, strict=True):
            self.counts[key] += tokens
        context, found = self.context, []
        for ahead in range(1, min(self.n_layers, context.n_layers - 1 - event.layer) + 1):
            first = (event.layer + ahead) * context.n_experts
            used = [key for key in range(first, first + context.n_experts) if self.counts[key]]
            used.sort(key=lambda key: (-self.counts[key], key))
            found += [Wish(key * context.n_versions, ahead) for key in used[: self.most or context.top_k]]
        return found
