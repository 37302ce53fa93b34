"""The oracle: prefetch what will be demanded."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Annotated

from pydantic import Field

from policies.base import Event, Prefetch, Wish


class Oracle(Prefetch):
    """Wishes for the true demand of the next ``n_layers`` layer steps, nearest step first.

    It is what a perfect predictor of that reach gains; steps run on into the next pass. Experts are
    wanted at the main precision.
    """

    needs = frozenset({"future"})
    cite = "Cao et al., A study of integrated prefetching and caching strategies, SIGMETRICS 1995"

    def __init__(self, n_layers: Annotated[int, Field(ge=1)] = 1) -> None:
        self.n_layers = n_layers

    def wishes(self, event: Event, resident: Container[int]) -> Sequence[Wish]:
        """Return the experts of the next layer steps."""
        future = self.context.future
        assert future is not None
        ahead = range(1, self.n_layers + 1)
        n = self.context.n_versions
        return [Wish(key * n, layers) for layers in ahead for key in future.keys(event.index + layers)]
