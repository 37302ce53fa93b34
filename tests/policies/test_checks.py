"""The contract's checks can fail: each buggy policy is caught, by the check that names its bug."""

from __future__ import annotations

import pickle
import random
import subprocess
import sys
from collections import OrderedDict
from functools import partial

import numpy as np
import pytest

from policies.base import (
    Admission,
    Order,
    Partition,
    Place,
    Placed,
    Placement,
    Policy,
    Precision,
    Prefetch,
    Routing,
    Wish,
)
from policies.checks import ContractError, check_policy, checks_of
from policies.contract import axes, conduct, eviction
from policies.contract.toy_trace import trace
from policies.eviction.lru import LRU
from policies.eviction.random_ import RandomEviction
from policies.precision.fixed import Fixed
from policies.prefetch.popularity import Popularity
from policies.prefetch.previous_token import PreviousToken
from policies.registry import AXES, create
from simulator.errors import InputError
from simulator.trace.validate import validate

# -- eviction -----------------------------------------------------------------------------------------


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


# -- other axes ---------------------------------------------------------------------------------------


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


class CountsInTheContext(PreviousToken):
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


BUGGY = {
    Forgetful: ("check_forgets_who_was_evicted", "came 7|came 1"),
    ForgetsOnlyOnce: ("check_raises_nothing|check_forgets", r"KeyError: \d+ \(line \d+ of test_checks.py\)"),
    Blockhead: ("check_victim_is_in_the_pool", "which is in blocked"),
    Stranger: ("check_victim_is_in_the_pool|check_forgets_who_was_evicted", "came 0"),
    Texts: ("check_victim_is_in_the_pool", "which is no key"),
    Truths: ("check_victim_is_in_the_pool", "(True|False), which is no key"),
    Unwilling: ("check_somebody_goes_if_anybody_can", "Expected one of .* came None, after"),
    Deaf: ("check_somebody_goes_if_anybody_can", "came None, after insert"),
    SharedOrder: ("check_keeps_its_state_to_itself", "beside another instance"),
    SharedAndCleared: ("check_keeps_its_state_to_itself", "beside another instance"),
    Hesitant: ("check_asking_for_a_victim_changes_nothing", r"Expected \d again; came \d"),
    CountsQuestions: ("check_asking_for_a_victim_changes_nothing", "Expected"),
    Dice: ("check_keeps_its_state|check_says_the_same_in_the_same_run", "from victim"),
    UnseededRandom: ("check_keeps_its_state|check_says_the_same_in_the_same_run", "from victim"),
    PreloadsTwice: ("check_preloads_experts_of_its_layers", r"came \[0, 0\] from preload"),
    PreloadsOthers: ("check_preloads_experts_of_its_layers", r"came \[32\] from preload"),
    ShortRecord: ("check_a_record_answers_for_each_key", r"came \[True\] from residency"),
    BeladyUnsaid: ("check_says_what_it_needs", "'future' in needs"),
    OwnLayer: ("check_wishes_are_for_later_layers", "those of layer 1"),
    NoneAhead: ("check_wishes_are_for_later_layers", "1 or more layers ahead"),
    ForgetsVersions: ("check_wishes_are_for_later_layers", r"Expected a key from 16 to 31"),
    RunsOff: ("check_wishes_are_for_later_layers", "those of layer 0"),
    BareKeys: ("check_wishes_are_for_later_layers", "Expected a Wish"),
    NoWishes: ("check_wishes_are_for_later_layers", "Expected a list; came None"),
    Peeks: ("check_does_not_know_the_future", "where something else comes later"),
    PeeksIfThere: ("check_does_not_know_the_future", "where something else comes later"),
    OracleUnsaid: ("check_says_what_it_needs", "'future' in needs.*AttributeError"),
    PopularUnsaid: ("check_does_not_know_the_future", "sets `learns_beforehand`"),
    WeightsUnsaid: ("check_says_what_it_needs", "'gate_weights' in needs"),
    OddNeed: ("check_needs_are_known", "gate_weights.*came .*'weights'"),
    SortsTheEvent: ("check_leaves_what_it_is_given", "Expected Event"),
    WritesInTheTrace: ("check_leaves_what_it_is_given", "trace's experts"),
    CountsInTheContext: ("check_leaves_what_it_is_given", "popularity"),
    Mute: ("check_assumptions_are_sentences", "came None"),
    Raises: ("check_raises_nothing", r"KeyError: 0 \(line \d+ of test_checks.py\)"),
    Greedy: ("check_pools_fit_the_capacity", "together"),
    Gap: ("check_every_layer_is_in_one_pool", "each layer from 0 to 3 once"),
    Twice: ("check_every_layer_is_in_one_pool", "each layer from 0 to 3 once"),
    Fractional: ("check_pools_fit_the_capacity", "whole bytes"),
    Regroups: ("check_layers_stay_in_their_pools", "at every capacity"),
    Loses: ("check_order_keeps_every_key", "in some order"),
    Repeats: ("check_order_keeps_every_key", "in some order"),
    LosesOnEntry: ("check_order_keeps_every_key", "in some order"),
    SaysNothing: ("check_admits_says_yes_or_no", "came None from admits"),
    FewPlaces: ("check_place_answers_for_each_missed_key", "came 1 answers"),
    PlaceNames: ("check_place_answers_for_each_missed_key", "a Placed"),
    NegativeDeferral: ("check_place_answers_for_each_missed_key", "0 or more layers"),
    OnCpuUnsaid: ("check_the_cpu_is_announced", "uses_cpu = True"),
    FewVersions: ("check_wanted_answers_for_each_key", "came 1 answers"),
    ThirdVersion: ("check_wanted_answers_for_each_key", "versions from 0"),
    ForeseesLists: ("check_foreseen_maps_experts_to_versions", "a mapping"),
    ForeseesStrangers: ("check_foreseen_maps_experts_to_versions", "of experts among"),
    SilentVersions: ("check_accepts_says_yes_or_no", "came None from accepts"),
    FewRoutes: ("check_rewrite_answers_for_each_key", "came 1 answers"),
    Forward: ("check_rewrite_answers_for_each_key", "those of layer 0, or -1"),
}
EVERY = {
    rule.__name__: rule for rules in (conduct.RULES, eviction.RULES, *axes.RULES.values()) for rule in rules
}


@pytest.mark.parametrize("kind", BUGGY)
def test_a_buggy_policy_is_caught_by_the_check_that_names_its_bug(kind):
    check, says = BUGGY[kind]
    with pytest.raises(ContractError, match=says) as caught:
        check_policy(kind)
    error = caught.value
    assert error.policy == kind.__qualname__
    assert error.check in EVERY
    assert any(error.check.startswith(name) for name in check.split("|")), error
    assert str(error).startswith(f"{kind.__qualname__} fails {error.check}: ")
    assert error.rule in str(error)
    assert error.expected
    assert error.came


def test_every_check_catches_somebody():
    caught = set()
    for kind in BUGGY:
        for name, check in checks_of(kind):
            try:
                check()
            except ContractError:
                caught.add(name)
    assert caught == {*EVERY}


@pytest.mark.parametrize("rule", EVERY.values(), ids=EVERY.keys())
def test_the_first_line_of_a_check_says_the_rule(rule):
    first, _, _ = rule.__doc__.partition("\n")
    assert first.endswith(".")
    assert rule.__name__.startswith("check_")


def test_every_axis_has_rules_of_its_own():
    assert {*axes.RULES, "eviction"} == {*AXES}
    assert all(axes.RULES.values())


def test_a_class_takes_parameters_and_a_function_makes_policies():
    check_policy(PreviousToken, n_layers=2)
    check_policy(partial(PreviousToken, n_layers=3))
    check_policy(partial(create, "eviction", {"name": "lfu", "survive_eviction": True}))
    with pytest.raises(InputError, match="PreviousToken has no parameter 'layers'; did you mean 'n_layers'"):
        check_policy(PreviousToken, layers=2)


def test_one_instance_for_all_runs_is_caught():
    policy = LRU()
    with pytest.raises(ContractError, match="check_keeps_its_state_to_itself"):
        check_policy(lambda: policy)


def test_a_policy_of_no_axis_is_a_mistake_of_the_caller():
    class Nothing(Policy): ...

    with pytest.raises(
        TypeError, match=r"Nothing derives from no axis of policies\.base: Eviction, Admission"
    ):
        check_policy(Nothing)


def test_checks_are_named_and_run_one_by_one():
    outcomes = {}
    for name, check in checks_of(Forgetful):
        try:
            check()
        except ContractError as error:
            outcomes[name] = error
    assert {"check_forgets_who_was_evicted", "check_victim_is_in_the_pool"} <= {*outcomes}
    assert "check_wishes_are_for_later_layers" not in dict(checks_of(Forgetful))
    again = pickle.loads(pickle.dumps(outcomes["check_victim_is_in_the_pool"]))  # noqa: S301 - our own
    assert str(again) == str(outcomes["check_victim_is_in_the_pool"])


def test_the_small_trace_is_one():
    validate(trace())
    assert trace().offers() >= {"future", "gate_weights", "predictions", "gate_top", "token_ids"}


def test_checks_need_neither_pytest_nor_the_engine():
    code = (
        "import sys; from policies.checks import check_policy; from policies.eviction.lru import LRU; "
        "check_policy(LRU); "
        "assert not [m for m in sys.modules if m.startswith(('pytest', 'hypothesis', 'simulator.engine'))]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
