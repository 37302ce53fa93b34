"""ExpertFlow's slots: those of layers that are done go to layers that are due."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from policies.base import Context
from policies.eviction.scored import Keys, Scored, Scores


class PLEC(Scored):
    """Evicts from the layer that is due last, there who was used longest ago.

    A prefetcher shields what is predicted, so slots follow the predicted demand: the experts of a finished
    layer make room for those of the layers ahead.
    """

    cite = "He et al., ExpertFlow, arXiv 2410.17954 (predictive locality-aware expert caching)"

    def bind(self, context: Context) -> None:
        """Start the record of last uses."""
        super().bind(context)
        self.last = np.zeros(self.n_keys)
        self.uses = 0

    def on_use(self, keys: Sequence[int], event: int) -> None:
        """Note the uses."""
        super().on_use(keys, event)
        self.last[np.array(keys, np.int64)] = self.uses + 1 + np.arange(len(keys))
        self.uses += len(keys)

    def scores(self, keys: Keys) -> Scores:
        """Return nearness, and within a layer recency."""
        ahead = (self.layers_ahead(keys) - 1) % self.context.n_layers  # the present layer is due last
        scores: Scores = self.last[keys] / (self.uses + 1) - ahead
        return scores
