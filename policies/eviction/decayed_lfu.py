"""LFU with decay: old uses count less."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from policies.base import Event
from policies.eviction.scored import Scored


class DecayedLFU(Scored):
    """Evicts the lowest count of uses, each multiplied by ``decay`` in every pass since; ties: lowest key.

    Counts survive eviction. The default halves a use in about 69 passes.
    """

    cite = "Lee et al., LRFU, IEEE Transactions on Computers 50(12), 2001 (exponentially decayed frequency)"

    def __init__(self, decay: Annotated[float, Field(gt=0, lt=1)] = 0.99) -> None:
        super().__init__()
        self.decay = decay
        self.now = 0
        self.counts: dict[int, tuple[float, int]] = {}  # count as of a pass

    def observe(self, event: Event, served: Sequence[int]) -> None:
        """Note the pass."""
        super().observe(event, served)
        self.now = event.index // self.context.n_layers

    def on_use(self, keys: Sequence[int], event: int) -> None:
        """Add one use to each key's decayed count."""
        super().on_use(keys, event)
        for key in keys:
            self.counts[key] = (self.score(key) + 1, self.now)

    def score(self, key: int) -> float:
        """Return the count as it is worth now."""
        count, then = self.counts.get(key, (0.0, self.now))
        factor, passes = self.decay, self.now - then
        while passes:  # by squaring: products round alike everywhere, pow() need not
            if passes & 1:
                count *= factor
            factor *= factor
            passes >>= 1
        return count
