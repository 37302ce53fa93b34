"""Uploads: what was missed is brought for the next pass."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Annotated

from pydantic import Field

from policies.base import Event, Prefetch, Wish


class Uploads(Prefetch):
    """Wishes, while decoding, for up to ``most`` missed experts of a step, for the next step of the layer.

    It goes with placements that compute misses on the CPU: the upload is beside that, and serves later
    tokens. The experts are taken in the order of the step. They are asked for when the next layer has been
    routed.
    """

    cite = "llama.cpp, pull request 27861 (--moe-expert-cache-inserts)"
    shields = False

    def __init__(self, most: Annotated[int, Field(ge=1)] = 2) -> None:
        self.most = most
        self.layer = 0
        self.missed: list[int] = []

    def wishes(self, event: Event, resident: Container[int]) -> Sequence[Wish]:
        """Note who is missed now, and return the last layer's."""
        context = self.context
        ahead = (self.layer - event.layer - 1) % context.n_layers + 1
        found = [Wish(key, ahead) for key in self.missed if key not in resident]
        keys = (key * context.n_versions for key in event.keys)
        missed = [key for key in keys if key not in resident] if event.decode else []
        self.layer, self.missed = event.layer, missed[: self.most]
        return found
