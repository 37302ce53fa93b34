"""SIEVE: one queue, and a hand that spares who was used since it passed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container, Sequence
from itertools import chain

from policies.eviction.listed import Listed


class Sieve(Listed):
    """Evicts the first expert at the hand that was not used since it entered or was passed.

    The hand goes from old to new. Who is passed stays in its place. A blocked expert is passed as if it had
    been used.
    """

    cite = "Zhang et al., SIEVE is simpler than LRU, NSDI 2024, algorithm 1"

    def __init__(self) -> None:
        super().__init__()
        self.passed: OrderedDict[int, bool] = OrderedDict()  # older than the hand; whether it was used
        self.ahead: OrderedDict[int, bool] = OrderedDict()

    def present(self) -> Sequence[OrderedDict[int, bool]]:
        """Return who was passed, and who was not."""
        return self.passed, self.ahead

    def touch(self, key: int) -> None:
        """Mark ``key`` as used."""
        (self.passed if key in self.passed else self.ahead)[key] = True

    def enter(self, key: int) -> None:
        """Start at the young end, unused."""
        self.ahead[key] = False

    def leave(self, key: int) -> None:
        """Move the hand to ``key``, unless it is bypassed, and take it out."""
        while key not in self.fresh:
            at, used = next(iter(self.ahead.items()))
            if at == key and not used:
                break
            del self.ahead[at]
            self.passed[at] = False
            self._wrap()
        self.passed.pop(key, None)
        self.ahead.pop(key, None)
        self._wrap()

    def victim(self, blocked: Container[int]) -> int | None:
        """Return the first unused at the hand; if all are used, the first."""
        spared = None
        for key, used in chain(self.ahead.items(), self.passed.items()):
            if key not in blocked:
                if not used:
                    return key
                spared = key if spared is None else spared
        return spared

    def _wrap(self) -> None:
        """Return to the oldest when only this step's arrivals are ahead."""
        if all(key in self.fresh for key in self.ahead):
            self.passed.update(self.ahead)
            self.ahead, self.passed = self.passed, OrderedDict()
