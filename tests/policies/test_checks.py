"""The contract's checks can fail: each buggy policy is caught, by the check that names its bug."""

from __future__ import annotations

import pickle
import subprocess
import sys
from functools import partial

import pytest

from policies.base import Policy
from policies.checks import ContractError, check_policy, checks_of
from policies.contract import axes, conduct, eviction
from policies.contract.toy_trace import trace
from policies.eviction.lru import LRU
from policies.prefetch.previous_token import PreviousToken
from policies.registry import AXES, create
from simulator.errors import InputError
from simulator.trace.validate import validate
from tests.policies.buggy_choices import (
    BareKeys,
    CountsInTheContext,
    FewPlaces,
    FewRoutes,
    FewVersions,
    ForcesTheTrace,
    ForeseesLists,
    ForeseesStrangers,
    ForgetsVersions,
    Forward,
    Fractional,
    Gap,
    Greedy,
    LearnsInWordsLater,
    Loses,
    LosesOnEntry,
    Mute,
    NegativeDeferral,
    NoneAhead,
    NoWishes,
    OddNeed,
    OnCpuUnsaid,
    OracleUnsaid,
    OwnLayer,
    Peeks,
    PeeksIfThere,
    PlaceNames,
    PopularUnsaid,
    Raises,
    Regroups,
    Repeats,
    RunsOff,
    SaysNothing,
    ShieldsInWords,
    SilentVersions,
    SortsTheEvent,
    ThirdVersion,
    Twice,
    WeightsUnsaid,
    WritesInTheTrace,
)
from tests.policies.buggy_eviction import (
    BeladyUnsaid,
    Blockhead,
    CountsQuestions,
    Deaf,
    Dice,
    Forgetful,
    ForgetsOnlyOnce,
    Hesitant,
    PreloadsOthers,
    PreloadsTwice,
    SharedAndCleared,
    SharedOrder,
    ShortRecord,
    Stranger,
    Texts,
    Truths,
    UnseededRandom,
    Unwilling,
)

BUGGY = {
    Forgetful: ("check_forgets_who_was_evicted", "came 7|came 1"),
    ForgetsOnlyOnce: (
        "check_raises_nothing|check_forgets",
        r"KeyError: \d+ \(line \d+ of buggy_\w+.py\)",
    ),
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
    PopularUnsaid: (
        "check_says_that_it_learns_beforehand",
        "Expected learns_beforehand = True; came .* reads context.popularity",
    ),
    ShieldsInWords: ("check_flags_are_true_or_false", "Expected True or False in shields; came 'no'"),
    LearnsInWordsLater: ("check_flags_are_true_or_false", "in learns_beforehand; came 'false'"),
    WeightsUnsaid: ("check_says_what_it_needs", "'gate_weights' in needs"),
    OddNeed: ("check_needs_are_known", "gate_weights.*came .*'weights'"),
    SortsTheEvent: ("check_raises_nothing", r"AttributeError: 'tuple' .* \(line \d+ of buggy_choices.py"),
    WritesInTheTrace: ("check_raises_nothing", r"read-only \(line \d+ of buggy_choices.py\)"),
    CountsInTheContext: ("check_raises_nothing", r"read-only \(line \d+ of buggy_choices.py\)"),
    ForcesTheTrace: ("check_leaves_what_it_is_given", "trace's experts"),
    Mute: ("check_assumptions_are_sentences", "came None"),
    Raises: ("check_raises_nothing", r"KeyError: 0 \(line \d+ of buggy_choices.py\)"),
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
