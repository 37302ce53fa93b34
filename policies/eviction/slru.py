"""SLRU: newcomers are on probation until they are used again."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Annotated

from pydantic import Field

from policies.eviction.listed import Keys, Listed, first


class SLRU(Listed):
    """Evicts the least recent of those on probation; a second use protects, within a share of the cache.

    Who falls out of the protected part is on probation again, as its most recent.
    """

    cite = "Karedla et al., Caching strategies to improve disk system performance, IEEE Computer 27(3), 1994"

    def __init__(self, protected: Annotated[float, Field(gt=0, lt=1)] = 0.8) -> None:
        super().__init__()
        self.protected_share = protected
        self.probation, self.protected = Keys(), Keys()

    def present(self) -> Sequence[Keys]:
        """Return both parts."""
        return self.probation, self.protected

    def touch(self, key: int) -> None:
        """Protect ``key``; once the pool is full, the least recent beyond the share loses protection."""
        self.probation.pop(key, None)
        self.protected[key] = None
        self.protected.move_to_end(key)
        while self.full and len(self.protected) > self.share(self.protected_share):
            self.probation[self.protected.popitem(last=False)[0]] = None

    def enter(self, key: int) -> None:
        """Start on probation."""
        self.probation[key] = None

    def leave(self, key: int) -> None:
        """Forget ``key``."""
        self.probation.pop(key, None)
        self.protected.pop(key, None)

    def victim(self, blocked: Container[int]) -> int | None:
        """Return the least recent on probation, else the least recent protected."""
        found = first(self.probation, blocked)
        return first(self.protected, blocked) if found is None else found
