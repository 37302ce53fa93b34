"""No prefetching."""

from __future__ import annotations

from collections.abc import Container, Sequence

from policies.base import Event, Prefetch, Wish


class NoPrefetch(Prefetch):
    """Loads experts on demand only."""

    def wishes(self, event: Event, resident: Container[int]) -> Sequence[Wish]:
        """Return nothing."""
        return ()
