"""Forced admission: what is demanded is let in."""

from __future__ import annotations

from policies.base import Admission


class Always(Admission):
    """Admits every missed expert, as on-demand caches do."""

    def admits(self, key: int, victim: int, event: int) -> bool:
        """Return True."""
        return True
