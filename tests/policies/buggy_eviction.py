"""Eviction policies that each have a bug which one check names."""

from __future__ import annotations

import random
from collections import OrderedDict

from policies.eviction.lru import LRU
from policies.eviction.random_ import RandomEviction


class Forgetful(LRU):
    def on_evict(self, key):
        """What most first attempts leave out."""


class ForgetsOnlyOnce(LRU):
    def on_evict(self, key):
        """KeyError for a stranger."""
        del self.order[key]


class Blockhead(LRU):
    def victim(self, blocked):
        return next(iter(self.order), None)


class Stranger(LRU):
    def victim(self, blocked):
        return 0 if self.order and 0 not in blocked else super().victim(blocked)


class Texts(LRU):
    def victim(self, blocked):
        found = super().victim(blocked)
        return None if found is None else str(found)


class Truths(LRU):
    def victim(self, blocked):
        found = super().victim(blocked)
        return bool(found) if found in {0, 1} else found


class Unwilling(LRU):
    def victim(self, blocked):
        return None


class Deaf(LRU):
    def on_insert(self, key):
        """Does not count prefetched experts in."""


class SharedOrder(LRU):
    order = OrderedDict()  # noqa: RUF012 - that is the bug

    def __init__(self):
        """The order is the class's."""


class SharedAndCleared(SharedOrder):
    def bind(self, context):
        super().bind(context)
        self.order.clear()


class Hesitant(LRU):
    """Asking moves the victim to the young end."""

    def victim(self, blocked):
        found = super().victim(blocked)
        if found is not None:
            self.order.move_to_end(found)
        return found


class CountsQuestions(LRU):
    """Asking twice gives the same; having been asked changes what is said later."""

    asked = frozenset()

    def victim(self, blocked):
        found = super().victim(blocked)
        self.asked |= {found}
        return next((key for key in self.order if key not in blocked and key not in self.asked), found)


class Dice(LRU):
    def victim(self, blocked):
        free = sorted(key for key in self.order if key not in blocked)
        return random.choice(free) if free else None


class UnseededRandom(RandomEviction):
    """The same answer until somebody leaves, but another one in each run."""

    def bind(self, context):
        super().bind(context)
        self.random = random.Random()
        self._draw()


class PreloadsTwice(LRU):
    def preload(self, layers):
        return [layers[0] * self.context.n_experts] * 2


class PreloadsOthers(LRU):
    def preload(self, layers):
        return [len(layers) * self.context.n_experts]


class ShortRecord(LRU):
    def residency(self, event):
        return [True]


class BeladyUnsaid(LRU):
    def victim(self, blocked):
        now = getattr(self, "now", 0)
        free = [key for key in self.order if key not in blocked]
        return max(free, key=lambda key: (self.context.future.next_use(key, now), key), default=None)

    def on_use(self, keys, event):
        super().on_use(keys, event)
        self.now = event
