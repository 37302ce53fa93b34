"""Missed experts by ascending id."""

from __future__ import annotations

from collections.abc import Sequence

from policies.base import Event, Order


class Ascending(Order):
    """Asks for missed experts by ascending id, the order in which a loop over the experts computes them."""

    cite = "github.com/Helldez/BigMoeOnEdge, core/src/moe/expert_stream_source.cpp, load_layer_async"

    def order(self, event: Event, missed: Sequence[int]) -> Sequence[int]:
        """Return the keys sorted."""
        return sorted(missed)
