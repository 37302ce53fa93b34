"""Layer streaming: every expert of the next layers, used or not."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Annotated

from pydantic import Field

from policies.base import Event, Prefetch, Wish


class WholeLayer(Prefetch):
    """Wishes for all experts of the next ``n_layers`` layers, in order; the first come after the last.

    With a cache of ``n_layers`` + 1 layers that evicts what is oldest it is the ring of layers of the systems
    that stream weights layer by layer.
    """

    cite = "Aminabadi et al., DeepSpeed-Inference, SC 2022, arXiv 2207.00032; SE-MoE, arXiv 2205.10034"

    def __init__(self, n_layers: Annotated[int, Field(ge=1)] = 1) -> None:
        self.n_layers = n_layers

    def wishes(self, event: Event, resident: Container[int]) -> Sequence[Wish]:
        """Return every expert of the next layers."""
        context = self.context
        found = []
        for ahead in range(1, self.n_layers + 1):
            first = (event.layer + ahead) % context.n_layers * context.n_experts
            found += [
                Wish(key * context.n_versions, ahead) for key in range(first, first + context.n_experts)
            ]
        return found
