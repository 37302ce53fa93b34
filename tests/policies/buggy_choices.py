"""Policies of the other axes that each have a bug which one check names."""

from __future__ import annotations

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
from policies.precision.fixed import Fixed
from policies.prefetch.popularity import Popularity
from policies.prefetch.previous_token import PreviousToken


class OwnLayer(Prefetch):
    def wishes(self, event, resident):
        return [Wish(key * self.context.n_versions, 1) for key in event.keys]


class NoneAhead(Prefetch):
    def wishes(self, event, resident):
        return [Wish(key * self.context.n_versions, 0) for key in event.keys]


class ForgetsVersions(Prefetch):
    """Right with one precision, wrong with two."""

    def wishes(self, event, resident):
        context = self.context
        layer = (event.layer + 1) % context.n_layers
        return [Wish(layer * context.n_experts, 1)]


class RunsOff(Prefetch):
    """Does not wrap into the next pass."""

    def wishes(self, event, resident):
        context = self.context
        return [Wish((event.layer + 1) * context.n_experts * context.n_versions, 1)]


class BareKeys(Prefetch):
    def wishes(self, event, resident):
        return event.keys


class NoWishes(Prefetch):
    def wishes(self, event, resident):
        """Without a return."""


class Peeks(Prefetch):
    """Reads in the trace what the next layer's gate has not said yet."""

    def wishes(self, event, resident):
        context, layer = self.context, event.layer + 1
        if layer == context.n_layers:
            return []
        experts = np.unique(context.trace.experts[list(event.rows), layer])
        first = layer * context.n_experts
        return [Wish((first + int(expert)) * context.n_versions, 1) for expert in experts]


class PeeksIfThere(Prefetch):
    """Uses the future where another policy of the run needs it."""

    def wishes(self, event, resident):
        future = self.context.future
        keys = [] if future is None else future.keys(event.index + 1)
        return [Wish(key * self.context.n_versions, 1) for key in keys]


class OracleUnsaid(Prefetch):
    def wishes(self, event, resident):
        keys = self.context.future.keys(event.index + 1)
        return [Wish(key * self.context.n_versions, 1) for key in keys]


class PopularUnsaid(Popularity):
    """Counts what is replayed beforehand, and does not say so."""

    def bind(self, context):
        super().bind(context)
        self.counts = context.popularity.ravel().tolist()


class WeightsUnsaid(PreviousToken):
    def wishes(self, event, resident):
        self.context.trace.weights[list(event.rows), event.layer].sum()
        return super().wishes(event, resident)


class OddNeed(PreviousToken):
    needs = frozenset({"weights"})


class SortsTheEvent(PreviousToken):
    def wishes(self, event, resident):
        event.keys.sort(reverse=event.layer % 2 == 0)
        return super().wishes(event, resident)


class WritesInTheTrace(PreviousToken):
    def wishes(self, event, resident):
        self.context.trace.experts[0, 0] = 7
        return super().wishes(event, resident)


class ForcesTheTrace(PreviousToken):
    def wishes(self, event, resident):
        own = self.context.trace.experts.base
        own.setflags(write=True)
        own[0, 0] = 7
        return super().wishes(event, resident)


class ShieldsInWords(PreviousToken):
    shields = "no"


class LearnsInWordsLater(PreviousToken):
    def bind(self, context):
        super().bind(context)
        self.learns_beforehand = "false"


class CountsInTheContext(PreviousToken):
    learns_beforehand = True

    def wishes(self, event, resident):
        self.context.popularity[0, 0] += 1
        return super().wishes(event, resident)


class Mute(PreviousToken):
    def assumptions(self):
        """Without a return."""


class Raises(PreviousToken):
    def wishes(self, event, resident):
        return {}[event.layer]


class Greedy(Partition):
    def pools(self, capacity_bytes, layer_bytes):
        return [(capacity_bytes, [layer]) for layer in range(len(layer_bytes))]


class Gap(Partition):
    def pools(self, capacity_bytes, layer_bytes):
        return [(capacity_bytes, range(1, len(layer_bytes)))]


class Twice(Partition):
    def pools(self, capacity_bytes, layer_bytes):
        return [(0, [0]), (capacity_bytes, range(len(layer_bytes)))]


class Fractional(Partition):
    def pools(self, capacity_bytes, layer_bytes):
        return [(capacity_bytes / 3, range(len(layer_bytes)))]


class Regroups(Partition):
    def pools(self, capacity_bytes, layer_bytes):
        layers = range(len(layer_bytes))
        apart = [(capacity_bytes // len(layers), [layer]) for layer in layers]
        return apart if capacity_bytes > sum(layer_bytes) else [(capacity_bytes, layers)]


class Loses(Order):
    def order(self, event, missed):
        return missed[1:]


class Repeats(Order):
    def order(self, event, missed):
        return [missed[0] for _ in missed] if missed else []


class LosesOnEntry(Admission):
    def order(self, keys, event):
        return keys[:1]

    def admits(self, key, victim, event):
        return True


class SaysNothing(Admission):
    def admits(self, key, victim, event):
        """Without a return."""


class FewPlaces(Placement):
    def place(self, event, missed, in_dram):
        return [Placed()]


class PlaceNames(Placement):
    def place(self, event, missed, in_dram):
        return ["cpu" for _ in missed]


class NegativeDeferral(Placement):
    def place(self, event, missed, in_dram):
        return [Placed(defer_layers=-1) for _ in missed]


class OnCpuUnsaid(Placement):
    def place(self, event, missed, in_dram):
        return [Placed(Place.CPU) for _ in missed]


class FewVersions(Precision):
    def wanted(self, event):
        return [0]


class ThirdVersion(Precision):
    def wanted(self, event):
        return [2 for _ in event.keys]


class ForeseesLists(Fixed):
    def foreseen(self, experts, weights, layer):
        return [0]


class ForeseesStrangers(Fixed):
    def foreseen(self, experts, weights, layer):
        return {-1: 0}


class SilentVersions(Fixed):
    def accepts(self, version, wanted):
        """Without a return."""


class FewRoutes(Routing):
    def rewrite(self, event, hit):
        return event.keys[:1]


class Forward(Routing):
    def rewrite(self, event, hit):
        return [key + self.context.n_experts for key in event.keys]
