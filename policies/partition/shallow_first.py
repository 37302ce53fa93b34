"""Fate's division: shallow layers whole, the others alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from policies.base import Partition


class ShallowFirst(Partition):
    """Gives the first ``layers`` room for all their experts, as far as it suffices, the others the rest.

    Of the rest, each layer gets as many slots as every one can have. What is left over is not used.
    """

    cite = "Fang et al., Fate, arXiv 2502.12224 (shallow-favouring expert cache)"

    def __init__(self, layers: Annotated[int, Field(ge=0)] = 4) -> None:
        self.layers = layers

    def pools(self, capacity_bytes: int, layer_bytes: Sequence[int]) -> Sequence[tuple[int, Sequence[int]]]:
        """Return a pool for each layer, in order."""
        left, shares = capacity_bytes, [0] * len(layer_bytes)
        for layer, size in enumerate(layer_bytes[: self.layers]):
            shares[layer] = min(left // size, self.context.n_experts) * size
            left -= shares[layer]
        deep = range(min(self.layers, len(layer_bytes)), len(layer_bytes))
        slots = left // max(1, sum(layer_bytes[layer] for layer in deep))
        for layer in deep:
            shares[layer] = slots * layer_bytes[layer]
        return [(share, (layer,)) for layer, share in enumerate(shares)]
