"""LIRS: who is used again soon stays, by the distance of the last two uses."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Annotated

from pydantic import Field

from policies.eviction.listed import Keys, Listed, first


class LIRS(Listed):
    """Evicts the oldest of a short queue of experts (HIR) beside those with short distances of use (LIR).

    An expert that is used while the stack of recency has it becomes LIR, and the LIR at the stack's bottom
    becomes HIR. Until the pool is full, all are LIR; then the latest of them become HIR. Experts are few: the
    stack needs no limit.
    """

    cite = "Jiang and Zhang, LIRS, SIGMETRICS 2002, section 3"

    def __init__(self, hir: Annotated[float, Field(gt=0, lt=1)] = 0.01) -> None:
        super().__init__()
        self.hir_share = hir
        self.lir: set[int] = set()
        self.stack, self.queue = Keys(), Keys()  # by recency; HIR that are here

    def present(self) -> Sequence[set[int] | Keys]:
        """Return LIR, and the HIR that are here."""
        return self.lir, self.queue

    def touch(self, key: int) -> None:
        """Make ``key`` the most recent; a HIR of the stack becomes LIR."""
        if key in self.queue:
            if key in self.stack:
                del self.queue[key]
                self.lir.add(key)
            else:
                self.queue.move_to_end(key)
        self._top(key)

    def enter(self, key: int) -> None:
        """Become LIR if the stack has ``key`` or there is room for LIR, else HIR."""
        if key in self.stack or not self.full or len(self.lir) < self._most():
            self.lir.add(key)
        else:
            self.queue[key] = None
        self._top(key)

    def leave(self, key: int) -> None:
        """Take ``key`` out; the stack remembers it."""
        self.lir.discard(key)
        self.queue.pop(key, None)
        while len(self.lir) > self._most():
            latest = next(at for at in reversed(self.stack) if at in self.lir)
            self.lir.discard(latest)
            self.queue[latest] = None
        self._prune()

    def victim(self, blocked: Container[int]) -> int | None:
        """Return the oldest HIR, else the LIR at the bottom; before there are any HIR, the one at the top."""
        found = first(self.queue, blocked)
        if found is None:
            stack = self.stack if self.full else reversed(self.stack)
            found = first((key for key in stack if key in self.lir), blocked)
        return found

    def _most(self) -> int:
        return max(1, self.room - self.share(self.hir_share))

    def _top(self, key: int) -> None:
        self.stack[key] = None
        self.stack.move_to_end(key)
        self._prune()
        while self.full and len(self.lir) > self._most():
            bottom = next(iter(self.stack))
            self.lir.discard(bottom)
            self.queue[bottom] = None
            self._prune()

    def _prune(self) -> None:
        """Take from the stack's bottom who is not LIR."""
        while self.stack and (bottom := next(iter(self.stack))) not in self.lir:
            del self.stack[bottom]
