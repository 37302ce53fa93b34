"""What an eviction policy promises."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from policies.base import Eviction
from policies.contract.asked import each_answer
from policies.contract.lives import Moment, lives, played
from policies.contract.rule import BrokenRuleError, Make, is_whole, is_yes_or_no, shown
from policies.contract.toy import Run, bound
from policies.contract.toy_trace import trace


def check_forgets_who_was_evicted(make: Make) -> None:
    """After ``on_evict(key)``, ``victim`` does not name that key, even if it never was in the pool."""
    life = [("evict", 7), ("use", [1, 2]), ("evict", 7), ("evict", 1), ("evict", 1), ("evict", 2)]
    for moment in played(make, [*life, ("insert", 3), ("evict", 3)]):
        victim = moment.policy.victim(frozenset())
        if is_whole(victim) and victim not in moment.present:
            raise BrokenRuleError(_somebody(moment.present), f"{victim}, after {moment.story}")


def check_victim_is_in_the_pool(make: Make) -> None:
    """``victim`` names an int key that is in the pool and not in ``blocked``, or None."""
    for life in lives():
        for moment in played(make, life):
            victim = moment.policy.victim(moment.blocked)
            if victim is not None and not (is_whole(victim) and victim in moment.free):
                raise BrokenRuleError(
                    _somebody(moment.free), f"{_named(victim, moment)}, after {moment.story}"
                )


def check_somebody_goes_if_anybody_can(make: Make) -> None:
    """``victim`` is None only if ``blocked`` has the whole pool, or the class sets ``refuses``."""
    policy = make()
    assert isinstance(policy, Eviction)
    if policy.refuses or type(policy).residency is not Eviction.residency:  # a record says who comes and goes
        return
    for life in lives():
        for moment in played(make, life):
            if moment.free and moment.policy.victim(moment.blocked) is None:
                raise BrokenRuleError(f"one of {moment.free}", f"None, after {moment.story}")


def check_asking_for_a_victim_changes_nothing(make: Make) -> None:
    """``victim`` changes nothing: earlier questions do not change an answer."""
    for life in lives():
        for moment in played(make, life):
            moment.policy.victim(moment.present)
            first = moment.policy.victim(moment.blocked)
            moment.policy.victim(frozenset())
            again = moment.policy.victim(moment.blocked)
            if again != first:
                raise BrokenRuleError(f"{shown(first)} again", f"{shown(again)}, after {moment.story}")
        [last] = deque(played(make, life), maxlen=1)
        unasked = last.policy.victim(last.blocked)
        if first != unasked:
            story = f"{shown(first)} from one that was asked before, after {last.story}"
            raise BrokenRuleError(f"{shown(unasked)}, as from one that was never asked", story)


def check_preloads_experts_of_its_layers(make: Make) -> None:
    """``preload`` lists distinct expert keys of the layers that it is given, as ints."""
    run = Run(trace())
    for layers in ((0, 1, 2, 3), (1,), (3, 0)):
        policy = bound(make, run)
        assert isinstance(policy, Eviction)
        found, n = list(policy.preload(layers)), policy.context.n_experts
        if len({*found}) < len(found) or not all(is_whole(key) and key // n in layers for key in found):
            raise BrokenRuleError(f"distinct experts of the layers {layers}", f"{shown(found)} from preload")


def check_a_record_answers_for_each_key(make: Make) -> None:
    """``residency`` is None, or has True or False for each key of the event."""
    for asked in each_answer(make, "residency"):
        found, keys = asked.answer, asked.step.keys
        if found is None:
            continue
        if not isinstance(found, list) or len(found) != len(keys) or not all(map(is_yes_or_no, found)):
            raise BrokenRuleError(f"True or False for each of {keys}", str(asked))


RULES = (
    check_forgets_who_was_evicted,
    check_victim_is_in_the_pool,
    check_somebody_goes_if_anybody_can,
    check_asking_for_a_victim_changes_nothing,
    check_preloads_experts_of_its_layers,
    check_a_record_answers_for_each_key,
)


def _somebody(keys: Collection[int]) -> str:
    return f"one of {sorted(keys)} or None" if keys else "None"


def _named(victim: object, moment: Moment) -> str:
    if not is_whole(victim):
        return f"{shown(victim)}, which is no key"
    return f"{victim}, which is {'in blocked' if victim in moment.blocked else 'not in the pool'}"
