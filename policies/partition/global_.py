"""One pool for all layers."""

from __future__ import annotations

from collections.abc import Sequence

from policies.base import Partition


class Global(Partition):
    """All layers share the whole capacity."""

    def pools(self, capacity_bytes: int, layer_bytes: Sequence[int]) -> Sequence[tuple[int, Sequence[int]]]:
        """Return one pool."""
        return [(capacity_bytes, range(len(layer_bytes)))]
