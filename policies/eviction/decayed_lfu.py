"""LFU with decay: old uses count less."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from policies.base import Context, Event
from policies.eviction.scored import Keys, Scored, Scores


class DecayedLFU(Scored):
    """Evicts the lowest count of uses, each multiplied by ``decay`` in every pass since; ties: lowest key.

    Counts survive eviction. The default halves a use in about 69 passes.
    """

    cite = "Lee et al., LRFU, IEEE Transactions on Computers 50(12), 2001 (exponentially decayed frequency)"

    def __init__(self, decay: Annotated[float, Field(gt=0, lt=1)] = 0.99) -> None:
        super().__init__()
        self.decay = decay
        self.now = 0

    def bind(self, context: Context) -> None:
        """Start the counts."""
        super().bind(context)
        self.counts = np.zeros(self.n_keys)
        self.counted_in = np.zeros(self.n_keys, np.int64)

    def observe(self, event: Event, served: Sequence[int]) -> None:
        """Note the pass."""
        super().observe(event, served)
        self.now = event.index // self.context.n_layers

    def on_use(self, keys: Sequence[int], event: int) -> None:
        """Add one use to each key's decayed count."""
        super().on_use(keys, event)
        used = np.array(keys, np.int64)
        self.counts[used] = self.scores(used) + 1
        self.counted_in[used] = self.now

    def scores(self, keys: Keys) -> Scores:
        """Return the counts as they are worth now."""
        counts, factor, passes = self.counts[keys], self.decay, self.now - self.counted_in[keys]
        while passes.any():  # by squaring: products round alike everywhere, pow() need not
            counts = np.where(passes & 1, counts * factor, counts)
            factor *= factor
            passes >>= 1
        return counts
