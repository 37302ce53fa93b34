"""W-TinyLFU: a newcomer stays if it is used more often than who would go for it."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from policies.base import Context
from policies.eviction.listed import Keys, first
from policies.eviction.slru import SLRU

Share = Annotated[float, Field(gt=0, lt=1)]
SAMPLE = 10
"""Counts are halved after so many uses for each expert that fits."""


class WTinyLFU(SLRU):
    """Evicts the oldest of a window of newcomers, or SLRU's victim if that was used less often.

    Counts of uses include those of experts that are not here, and are halved from time to time. They are
    exact: experts are few, so no sketch is needed.
    """

    cite = (
        "Einziger, Friedman and Manes, TinyLFU, ACM ToS 13(4), 2017 (window 1 %, protected 80 % of the rest)"
    )

    def __init__(self, window: Share = 0.01, protected: Share = 0.8) -> None:
        super().__init__(protected)
        self.window_share = window
        self.window = Keys()
        self.uses = 0

    def bind(self, context: Context) -> None:
        """Start the counts."""
        super().bind(context)
        self.counts = np.zeros(context.n_layers * context.n_experts * context.n_versions, np.int64)

    def present(self) -> Sequence[Keys]:
        """Return the window and both parts of SLRU."""
        return self.window, self.probation, self.protected

    def on_use(self, keys: Sequence[int], event: int) -> None:
        """Count, and let the window overflow while the pool is not full."""
        while not self.full and len(self.window) > 1:
            self.probation[self.window.popitem(last=False)[0]] = None
        super().on_use(keys, event)
        for key in keys:
            self.counts[key] += 1
            self.uses += 1
            if self.full and self.uses >= SAMPLE * self.room:
                self.counts //= 2
                self.uses = 0

    def touch(self, key: int) -> None:
        """Make ``key`` the most recent of the window, or protect it."""
        if key in self.window:
            self.window.move_to_end(key)
        else:
            super().touch(key)

    def enter(self, key: int) -> None:
        """Start in the window."""
        self.window[key] = None

    def leave(self, key: int) -> None:
        """Take ``key`` out; if the window's oldest won against it, that one moves on to probation."""
        newcomer = self._newcomer(()) if key not in self.window else None
        self.window.pop(key, None)
        super().leave(key)
        if newcomer is not None:
            del self.window[newcomer]
            self.probation[newcomer] = None

    def victim(self, blocked: Container[int]) -> int | None:
        """Return the less used of the window's oldest and SLRU's victim; of equal ones the newcomer."""
        newcomer, other = self._newcomer(blocked), super().victim(blocked)
        if other is None:
            return first(self.window, blocked)
        if newcomer is None or self.counts[newcomer] > self.counts[other]:
            return other
        return newcomer

    def _newcomer(self, blocked: Container[int]) -> int | None:
        """Return the oldest of the window that this step did not bring, if it is above its share."""
        if len(self.window) <= self.share(self.window_share):
            return None
        return first((key for key in self.window if key not in self.fresh), blocked)
