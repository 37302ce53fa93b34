"""EdgeMoE's eviction: activation frequency over layer distance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from policies.base import Event
from policies.eviction.scored import Scored


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
        self.uses: dict[int, int] = {}

    def observe(self, event: Event, served: Sequence[int]) -> None:
        """Count the step's activations."""
        super().observe(event, served)
        for key in served:
            expert = key // self.context.n_versions
            self.uses[expert] = self.uses.get(expert, 0) + 1

    def score(self, key: int) -> float:
        """Return frequency over distance."""
        ahead, n_layers = self.layers_ahead(key), self.context.n_layers
        layers = ahead if self.distance == "ahead" else (n_layers - ahead) % n_layers
        return self.uses.get(key // self.context.n_versions, 0) / (layers or n_layers)
