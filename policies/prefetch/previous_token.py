"""Previous token: what the last pass used in the next layers."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Annotated

from pydantic import Field

from policies.base import Event, Prefetch, Wish


class PreviousToken(Prefetch):
    """Wishes for the experts that the last pass used in each of the next ``n_layers`` layers."""

    cite = (
        "Jiang et al., Mixtral of Experts, 2024, arXiv 2401.04088, section 5 (repetition from token to token)"
    )

    def __init__(self, n_layers: Annotated[int, Field(ge=1)] = 1) -> None:
        self.n_layers = n_layers
        self.last: dict[int, list[int]] = {}

    def on_sequence_start(self) -> None:
        """Another text: what the last one used says nothing."""
        self.last.clear()

    def wishes(self, event: Event, resident: Container[int]) -> Sequence[Wish]:
        """Note this layer's experts, then return those that the next layers used last."""
        self.last[event.layer] = list(event.keys)
        n = self.context.n_versions
        ahead = range(1, min(self.n_layers, self.context.n_layers - 1 - event.layer) + 1)
        return [Wish(key * n, i) for i in ahead for key in self.last.get(event.layer + i, ())]
