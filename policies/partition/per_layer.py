"""A pool for each layer, with equally many expert slots."""

from __future__ import annotations

from collections.abc import Sequence

from policies.base import Partition


class PerLayer(Partition):
    """Every layer gets the same number of expert slots, so bytes in proportion to its expert size.

    What is left over gives the first layers that it suffices for one slot more, in order. Less than
    a slot remains unused; a layer may get none, and then streams everything.
    """

    cite = "Eliseev and Mazur, mixtral-offloading, 2023, arXiv 2312.17238 (k experts kept in each layer)"

    def pools(self, capacity_bytes: int, layer_bytes: Sequence[int]) -> Sequence[tuple[int, Sequence[int]]]:
        """Return a pool for each layer, in order."""
        slots, left = divmod(capacity_bytes, sum(layer_bytes))
        found = []
        for layer, size in enumerate(layer_bytes):
            extra = left >= size
            left -= size * extra
            found.append((size * (slots + extra), (layer,)))
        return found
