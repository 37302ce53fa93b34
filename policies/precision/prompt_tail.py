"""Fate's precision: in prompts the least demanded experts move at the lower one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from policies.base import Event, Precision

HIGH, LOW = 0, 1


class PromptTail(Precision):
    """Wants the ``low_share`` of a prompt step's experts that fewest tokens use at the second precision.

    Of equal ones the later in the step. All others are wanted at the first precision; a better version
    always serves.
    """

    cite = "Fang et al., Fate, arXiv 2502.12224 (popularity-aware hybrid quantisation, INT2 for a quarter)"

    def __init__(self, low_share: Annotated[float, Field(ge=0, le=1)] = 0.25) -> None:
        self.low_share = low_share

    def wanted(self, event: Event) -> Sequence[int]:
        """Return the version of each expert."""
        found = [HIGH] * len(event.keys)
        if not event.decode and self.context.n_versions > 1:
            ranked = sorted(range(len(found)), key=lambda at: (event.tokens[at], -at))
            for at in ranked[: int(self.low_share * len(found))]:
                found[at] = LOW
        return found

    def accepts(self, version: int, wanted: int) -> bool:
        """Return whether a resident version is as good as the wanted one."""
        return version <= wanted
