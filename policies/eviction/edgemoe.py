"""EdgeMoE's eviction: activation frequency over layer distance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from policies.base import Context, Event
from policies.eviction.scored import Keys, Scored, Scores


class FrequencyDistance(Scored):
    """Evicts the lowest frequency / distance, uses counted over the whole run.

    ``distance: ahead`` is the number of layers to the expert's own, which is what the paper argues for
    (experts that are due soon stay). ``printed`` is its formula as printed, (S - i + I) mod S for an
    expert of layer i at layer I of S: the layers since. Both are 0 for the current layer, which was just
    used and comes again after a whole pass: S is taken there.
    """

    cite = "Yi et al., EdgeMoE, IEEE TMC 2025, arXiv 2308.14352 (expert buffer eviction)"

    def __init__(self, distance: Literal["ahead", "printed"] = "ahead") -> None:
        super().__init__()
        self.distance = distance

    def bind(self, context: Context) -> None:
        """Start the counts."""
        super().bind(context)
        self.uses = np.zeros(self.n_experts, np.int64)

    def observe(self, event: Event, served: Sequence[int]) -> None:
        """Count the step's activations."""
        super().observe(event, served)
        np.add.at(self.uses, np.array(served, np.int64) // self.context.n_versions, 1)

    def scores(self, keys: Keys) -> Scores:
        """Return frequency over distance."""
        layers, n_layers = self.layers_ahead(keys), self.context.n_layers
        if self.distance == "printed":
            layers = n_layers - layers
        scores: Scores = self.uses[keys // self.context.n_versions] / np.where(layers == 0, n_layers, layers)
        return scores
