"""ARC: recency and frequency share the cache as their ghosts ask for it."""

from __future__ import annotations

from collections.abc import Container, Sequence

from policies.eviction.listed import Keys, Listed, first


class ARC(Listed):
    """Evicts from those used once (T1) or more often (T2); T1's size aims at ``target``.

    A demanded expert that is remembered to have left T1 (B1) raises the target, one that left T2 (B2) lowers
    it: by the other ghosts' number over its own, at least one.
    """

    cite = "Megiddo and Modha, ARC: a self-tuning, low overhead replacement cache, FAST 2003, figure 4"

    def __init__(self) -> None:
        super().__init__()
        self.t1, self.t2, self.b1, self.b2 = Keys(), Keys(), Keys(), Keys()
        self.target = 0.0
        self.left_t2 = False
        """Whether the latest arrival was remembered in B2."""

    def present(self) -> Sequence[Keys]:
        """Return T1 and T2."""
        return self.t1, self.t2

    def touch(self, key: int) -> None:
        """Move to the young end of T2."""
        self.t1.pop(key, None)
        self.t2[key] = None
        self.t2.move_to_end(key)

    def enter(self, key: int) -> None:
        """Adapt the target if ``key`` is remembered, and take it into T2; else into T1."""
        b1, b2 = self.b1, self.b2
        self.left_t2 = key in b2
        if key in b1:
            self.target = min(float(self.room), self.target + max(1.0, len(b2) / len(b1)))
            del b1[key]
            self.t2[key] = None
        elif key in b2:
            self.target = max(0.0, self.target - max(1.0, len(b1) / len(b2)))
            del b2[key]
            self.t2[key] = None
        else:
            self.t1[key] = None

    def leave(self, key: int) -> None:
        """Remember ``key``; T1 and B1 have no more than the room together, all four than twice that."""
        for here, ghosts in ((self.t1, self.b1), (self.t2, self.b2)):
            if key in here:
                del here[key]
                ghosts[key] = None
        while self.b1 and len(self.t1) + len(self.b1) > self.room:
            self.b1.popitem(last=False)
        while self.b2 and sum(map(len, (self.t1, self.t2, self.b1, self.b2))) > 2 * self.room:
            self.b2.popitem(last=False)

    def victim(self, blocked: Container[int]) -> int | None:
        """Return the least recent of T1 if it is above the target, else of T2."""
        once = self.settled(self.t1)
        from_t1 = once > self.target or (self.left_t2 and once == self.target)
        found = first(self.t1 if from_t1 else self.t2, blocked)
        return first(self.t2 if from_t1 else self.t1, blocked) if found is None else found
