"""Policies that each have a common bug; the tests copy this file to where an experiment names it."""

from __future__ import annotations

import os
import signal
import sys
from collections import OrderedDict
from dataclasses import replace

import numpy as np

from policies.base import (
    Admission,
    Order,
    Partition,
    Place,
    Placed,
    Placement,
    Precision,
    Prefetch,
    Routing,
    Wish,
)
from policies.eviction.lru import LRU
from policies.precision.hobbit import Hobbit


class Forgetful(LRU):
    def on_evict(self, key):
        """What most first attempts leave out."""


class Shared(LRU):
    order = OrderedDict()  # noqa: RUF012 - the bug

    def __init__(self):
        """The order is the class's: all pools share it."""

    def bind(self, context):
        self.order.clear()


class Careless(LRU):
    def on_use(self, keys, event):
        super().on_use(keys, event)
        self.last = keys[-1]

    def victim(self, blocked):
        return self.last


class Unwilling(LRU):
    def victim(self, blocked):
        return None


class Deaf(LRU):
    """Knows nothing of what was prefetched, and nothing of what was used."""

    def on_use(self, keys, event): ...
    def on_insert(self, key): ...


class Answers(LRU):
    def victim(self, blocked):
        found = super().victim(blocked)
        return None if found is None else self.answer(found)


class Bool(Answers):
    answer = bool


class Text(Answers):
    answer = str


class Float(Answers):
    answer = float


class Tuple(Answers):
    def answer(self, key):
        return (key, 0)


class Numpy(Answers):
    answer = np.int64


class PreloadsTwice(LRU):
    def preload(self, layers):
        return [layers[0] * 64, layers[0] * 64]


class PreloadsOthers(LRU):
    def preload(self, layers):
        return [16 * 64]


class ShortRecord(LRU):
    def residency(self, event):
        return [True]


class Raises(LRU):
    def victim(self, blocked):
        return self.score({})

    def score(self, scores):
        return scores[5]


class Stops(LRU):
    def victim(self, blocked):
        return next(iter(()))


class BreaksLater(LRU):
    def on_evict(self, key):
        self.order = None


class CannotStart(LRU):
    def __init__(self):
        raise RuntimeError("no\nway")


class CannotBind(LRU):
    def bind(self, context):
        context.nothing  # noqa: B018 - the bug


class Wishful(Prefetch):
    def wishes(self, event, resident):
        n = self.context.n_experts * self.context.n_versions
        layer = (event.layer + 1) % self.context.n_layers
        return self.wish(layer * n, n)


class SameLayer(Wishful):
    def wish(self, first, n):
        return [Wish(first, 1), Wish(first, 2)]


class NoneAhead(Wishful):
    def wish(self, first, n):
        return [Wish(first - n, 0)]


class NegativeKey(Wishful):
    def wish(self, first, n):
        return [Wish(-1, 1)]


class FloatKey(Wishful):
    def wish(self, first, n):
        return [Wish(first + 0.5, 1)]


class BareKeys(Wishful):
    def wish(self, first, n):
        return [first, first + 1]


class NoWishes(Wishful):
    def wish(self, first, n):
        return None


class LazyWishes(Wishful):
    def wish(self, first, n):
        return (Wish(first // 0, 1) for _ in range(3))


class Greedy(Partition):
    def pools(self, capacity_bytes, layer_bytes):
        return [(capacity_bytes, [layer]) for layer in range(len(layer_bytes))]


class Gap(Partition):
    def pools(self, capacity_bytes, layer_bytes):
        return [(capacity_bytes, range(1, len(layer_bytes)))]


class Fractional(Partition):
    def pools(self, capacity_bytes, layer_bytes):
        return [(capacity_bytes * 0.5, range(len(layer_bytes)))]


class Loses(Order):
    def order(self, event, missed):
        return missed[:-1]


class Repeats(Order):
    def order(self, event, missed):
        return [missed[0] for _ in missed]


class LosesOnEntry(Admission):
    def order(self, keys, event):
        return list(keys)[1:]

    def admits(self, key, victim, event):
        return True


class SaysNothing(Admission):
    def admits(self, key, victim, event):
        """Without a return."""


class FewPlaces(Placement):
    def place(self, event, missed, in_dram):
        return [Placed()]


class OnCpuUnsaid(Placement):
    def place(self, event, missed, in_dram):
        return [Placed(Place.CPU) for _ in missed]


class PlaceNames(Placement):
    def place(self, event, missed, in_dram):
        return ["cpu" for _ in missed]


class Forward(Routing):
    def rewrite(self, event, hit):
        return [key + self.context.n_experts for key in event.keys]


class FewRoutes(Routing):
    def rewrite(self, event, hit):
        return event.keys[:1]


class ThirdVersion(Precision):
    def wanted(self, event):
        return [2 for _ in event.keys]


class SilentVersions(Precision):
    def wanted(self, event):
        return [0 for _ in event.keys]

    def accepts(self, version, wanted):
        """Without a return."""


class ForeseesLists(Hobbit):
    def foreseen(self, experts, weights, layer):
        return [0]


class Mute(Prefetch):
    def wishes(self, event, resident):
        return []

    def assumptions(self):
        return None


class Clears(LRU):
    def on_use(self, keys, event):
        super().on_use(keys, event)
        keys.clear()


class ClearsServed(LRU):
    def observe(self, event, served):
        served.clear()


class ClearsEvent(LRU):
    def observe(self, event, served):
        event.keys.clear()


class Renumbers(LRU):
    def observe(self, event, served):
        event.layer = 0


class Flattens(LRU):
    def bind(self, context):
        super().bind(context)
        context.trace.weights[:] = 0


class Exits(LRU):
    def victim(self, blocked):
        sys.exit(0)


class Unspeakable(LRU):
    def victim(self, blocked):
        raise Speechless


class Speechless(BaseException):
    def __str__(self):
        raise ValueError


class NeedsAWord(LRU):
    needs = "future"


class RefusesInWords(LRU):
    refuses = "no"


class ClearsLayers(LRU):
    def preload(self, layers):
        layers.clear()
        return []


class SortsPredictions(Hobbit):
    def foreseen(self, experts, weights, layer):
        experts[0].sort()
        return super().foreseen(experts, weights, layer)


class Unlocks(LRU):
    def bind(self, context):
        super().bind(context)
        context.trace.experts.setflags(write=True)


class Halves(LRU):
    learns_beforehand = True

    def bind(self, context):
        super().bind(context)
        context.popularity //= 2


class ExitsWhenMade(LRU):
    def __init__(self):
        sys.exit(0)


class Leaves(LRU):
    def victim(self, blocked):
        raise GeneratorExit


class ExitsInWords(LRU):
    def victim(self, blocked):
        raise QuittingError


class QuittingError(Exception):
    def __str__(self):  # noqa: PLE0307 - the bug
        sys.exit(0)


class RefusesItself(LRU):
    def __init__(self):
        raise UnsaidError


class UnsaidError(ValueError):
    def __str__(self):
        raise RuntimeError


class NeedsANumber(LRU):
    needs = frozenset({7})


class ShieldsInWords(Wishful):
    shields = "no"


class LearnsInWords(LRU):
    learns_beforehand = "false"


class LearnsInWordsLater(LRU):
    def bind(self, context):
        super().bind(context)
        self.learns_beforehand = "false"


class PopularUnsaid(LRU):
    def preload(self, layers):
        return [int(self.context.popularity[layers[0]].argmax())]


class LearntUnsaid(LRU):
    def bind(self, context):
        super().bind(context)
        self.known = context.learnt.experts


class PopularSaidLater(LRU):
    """Says it in ``bind``, before it reads."""

    def bind(self, context):
        super().bind(context)
        self.learns_beforehand = True
        self.known = context.popularity.sum() + len(context.learnt.experts)


class Reseeds(LRU):
    """Hands a context of its own to another policy, and reads nothing that it may not."""

    def bind(self, context):
        super().bind(replace(context, seed=context.seed + 1))


class Terminated(LRU):
    def victim(self, blocked):
        os.kill(os.getpid(), signal.SIGTERM)


class Interrupted(LRU):
    def victim(self, blocked):
        os.kill(os.getpid(), signal.SIGINT)
