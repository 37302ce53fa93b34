"""Plain caches of single keys, from the papers' pseudocode: lists, and evict before insert.

They share no code with ``policies``. Each has ``here`` (keys) and ``access(key)``; a size is a share of the
slots, rounded down, at least one, and holds once the cache has been full.
"""

from __future__ import annotations


class Plain:
    def __init__(self, slots):
        self.slots, self.full = slots, False

    def part(self, share):
        return max(1, int(share * self.slots))

    def access(self, key):
        hit = key in self.here()
        if hit:
            self.hit(key)
        else:
            full = len(self.here()) == self.slots
            if full:
                self.evict(key)
            self.insert(key)
            self.full = self.full or full
        return int(hit)


class SLRU(Plain):
    def __init__(self, slots):
        super().__init__(slots)
        self.probation, self.protected = [], []

    def here(self):
        return self.probation + self.protected

    def hit(self, key):
        (self.protected if key in self.protected else self.probation).remove(key)
        self.protected.append(key)
        while self.full and len(self.protected) > self.part(0.8):
            self.probation.append(self.protected.pop(0))

    def evict(self, key):
        (self.probation or self.protected).pop(0)

    def insert(self, key):
        self.probation.append(key)


class S3FIFO(Plain):
    def __init__(self, slots):
        super().__init__(slots)
        self.small, self.main, self.ghost, self.uses, self.back = [], [], [], {}, False

    def here(self):
        return self.small + self.main

    def hit(self, key):
        self.uses[key] = min(3, self.uses[key] + 1)

    def evict(self, key):
        self.back = key in self.ghost
        self.ghost = [other for other in self.ghost if other != key]
        if self.small and len(self.main) <= self.slots - self.part(0.1):
            while self.small:
                oldest = self.small.pop(0)
                if self.uses[oldest] < 2:
                    self.ghost = [*self.ghost, oldest][-(self.slots - self.part(0.1)) :]
                    return
                self.uses[oldest] = 0
                self.main.append(oldest)
        while True:
            oldest = self.main.pop(0)
            if not self.uses[oldest]:
                return
            self.uses[oldest] -= 1
            self.main.append(oldest)

    def insert(self, key):
        self.uses[key] = 0
        (self.main if self.back else self.small).append(key)


class LIRS(Plain):
    """``low`` are LIR, ``queue`` HIR that are here; the stack's bottom is first."""

    def __init__(self, slots):
        super().__init__(slots)
        self.stack, self.low, self.queue = [], set(), []

    def here(self):
        return [*self.low, *self.queue]

    def prune(self):
        while self.stack and self.stack[0] not in self.low:
            self.stack.pop(0)

    def raise_(self, key):
        if key in self.stack:
            self.stack.remove(key)
        self.stack.append(key)
        self.prune()
        while self.full and len(self.low) > max(1, self.slots - self.part(0.01)):
            bottom = self.stack.pop(0)
            self.low.remove(bottom)
            self.queue.append(bottom)
            self.prune()

    def hit(self, key):
        if key in self.queue:
            self.queue.remove(key)
            if key in self.stack:
                self.low.add(key)
            else:
                self.queue.append(key)
        self.raise_(key)

    def evict(self, key):
        if self.queue:
            self.queue.pop(0)
        else:  # only once: the cache has just become full
            self.full = True
            self.low.remove(next(other for other in reversed(self.stack) if other in self.low))

    def insert(self, key):
        lirs = max(1, self.slots - self.part(0.01))
        if key in self.stack or not self.full or len(self.low) < lirs:
            self.low.add(key)
        else:
            self.queue.append(key)
        self.raise_(key)


class WTinyLFU(SLRU):
    def __init__(self, slots):
        super().__init__(slots)
        self.window, self.count, self.total = [], {}, 0

    def access(self, key):
        hit = key in self.here()
        if not hit and len(self.here()) == self.slots:
            self.full = True
        # a use counts before anything is decided by counts
        self.count[key] = self.count.get(key, 0) + 1
        self.total += 1
        if self.full and self.total >= 10 * self.slots:
            self.count = {k: n // 2 for k, n in self.count.items()}
            self.total = 0
        return super().access(key)

    def here(self):
        return self.window + super().here()

    def hit(self, key):
        if key in self.window:
            self.window.append(self.window.pop(self.window.index(key)))
        else:
            super().hit(key)

    def evict(self, key):
        if len(self.window) + 1 <= self.part(0.01):
            super().evict(key)
            return
        candidate = self.window.pop(0)
        main = self.probation or self.protected
        if main and self.count[candidate] > self.count[main[0]]:
            main.pop(0)
            self.probation.append(candidate)

    def insert(self, key):
        self.window.append(key)
        while not self.full and len(self.window) > 1:
            self.probation.append(self.window.pop(0))


PLAIN = {"slru": SLRU, "s3-fifo": S3FIFO, "lirs": LIRS, "w-tinylfu": WTinyLFU}
