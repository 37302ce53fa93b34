"""Whole layers: some layers have all their experts in the tier, the others none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from policies.base import Partition


class WholeLayers(Partition):
    """Gives layers room for all their experts, from the first (or the last) on, as long as it suffices.

    The other layers have none. What is left over is not used.
    """

    cite = "Hugging Face accelerate, device_map (first layers); llama.cpp, --n-cpu-moe (last layers)"

    def __init__(self, keep: Literal["first", "last"] = "first") -> None:
        self.keep = keep

    def pools(self, capacity_bytes: int, layer_bytes: Sequence[int]) -> Sequence[tuple[int, Sequence[int]]]:
        """Return a pool for each layer, in order."""
        n, left = self.context.n_experts, capacity_bytes
        shares = [0] * len(layer_bytes)
        layers = range(len(layer_bytes))
        for layer in layers if self.keep == "first" else reversed(layers):
            if (size := n * layer_bytes[layer]) > left:
                break
            shares[layer] = size
            left -= size
        return [(share, (layer,)) for layer, share in enumerate(shares)]
