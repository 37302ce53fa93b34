"""What every policy promises, whatever its axis: how it behaves, not what it answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from itertools import takewhile, zip_longest
from typing import Any

import numpy as np

from policies.base import NEEDS
from policies.contract.asked import Asked, questions
from policies.contract.rule import BrokenRuleError, Make, raised, shown
from policies.contract.toy import Run, bound
from policies.contract.toy_trace import N_EXPERTS, trace
from policies.registry import FLAGS
from simulator.errors import InputError, PolicyError
from simulator.trace.core import Trace

COLUMNS: Mapping[str, dict[str, Any]] = {
    "gate_weights": {"weights": None},
    "predictions": {"predicted": (), "predicted_weights": ()},
    "gate_top": {"gate_top": None, "gate_top_p": None},
    "recorded_residency": {"recorded_resident": None},
    "token_ids": {"token_id": None},
}
"""What a trace lacks that does not offer a need."""
TRAINING, OTHER = 1, 2
"""Seeds of other traces."""
CUTS = ((3, 1), (17, 2))
"""Trace row and layer of the steps after which everything may come otherwise."""


def check_needs_are_known(make: Make) -> None:
    """``needs`` is a set of the words in ``policies.base.NEEDS``."""
    needs: object = make().needs
    if not isinstance(needs, AbstractSet) or not needs <= NEEDS:
        raise BrokenRuleError(f"words of {sorted(NEEDS)}", shown(needs))


def check_flags_are_true_or_false(make: Make) -> None:
    """What a policy says of itself with True or False is a bool, after ``bind`` too."""
    for policy in (make(), bound(make, Run(trace()))):
        for name in FLAGS:
            if not isinstance(value := getattr(policy, name, False), bool):
                raise BrokenRuleError(f"True or False in {name}", shown(value))


def check_says_that_it_learns_beforehand(make: Make) -> None:
    """``learns_beforehand`` is True where ``context.popularity`` or ``context.learnt`` is read."""
    for training in (None, trace(TRAINING)):
        try:
            _answers(make, Run(trace(), training))
        except PolicyError as error:
            raise BrokenRuleError("learns_beforehand = True", str(error)) from error
        except Exception:  # noqa: BLE001, S110 - another check says what
            pass


def check_says_what_it_needs(make: Make) -> None:
    """``needs`` names what the policy cannot do without, or its ``check`` refuses a trace that lacks it."""
    if _fault(make, Run(trace()), known=True):
        return  # something else is wrong, and another check says what
    for need in sorted(NEEDS - make().needs):
        run = Run(replace(trace(), **COLUMNS.get(need, {})))
        if fault := _fault(make, run, known=need != "future"):
            raise BrokenRuleError(f"'{need}' in needs", f"{fault} without it")


def check_raises_nothing(make: Make) -> None:
    """No method raises an error in a run; a trace that does not fit is refused by ``check`` before it."""
    for run in (Run(trace()), Run(trace(), n_versions=2), Run(trace(), training=trace(TRAINING))):
        _answers(make, run)


def check_keeps_its_state_to_itself(make: Make) -> None:
    """Instances share no state: each gives the same answers alone and beside another one."""
    run, other = Run(trace()), Run(trace(OTHER))
    alone = _answers(make, run)
    first, second = bound(make, run), bound(make, other)
    pairs = zip_longest(questions(first, run), questions(second, other))
    _compare(alone, [mine for mine, _ in pairs if mine is not None], "beside another instance")


def check_says_the_same_in_the_same_run(make: Make) -> None:
    """A repeated run has the same answers: random draws come from ``context.seed`` alone."""
    for n_versions in (1, 2):
        run = Run(trace(), n_versions=n_versions)
        _compare(_answers(make, run), _answers(make, run), "when the run is repeated")


def check_leaves_what_it_is_given(make: Make) -> None:
    """A policy changes nothing that it is given: no event, no trace, no counts of the context."""
    run = Run(trace())
    context = run.context()
    policy = bound(make, run, context)
    seen = [asked.event for asked in questions(policy, run) if asked.event is not None]
    for name in ("experts", "weights", "predicted", "gate_top", "token_id", "recorded_resident"):
        if not np.array_equal(getattr(run.trace, name), getattr(trace(), name)):
            raise BrokenRuleError(f"the trace's {name} as they were", "others")
    events = run.events(with_mass="gate_weights" in policy.needs)
    for event in seen:
        if event != events[event.index]:
            raise BrokenRuleError(str(events[event.index]), str(event))
    if not np.array_equal(*(c.popularity for c in (context, run.context()))):  # type: ignore[arg-type]
        raise BrokenRuleError("context.popularity as it was", "another")


def check_does_not_know_the_future(make: Make) -> None:
    """Later steps change no answer, unless the class needs ``future`` or sets ``learns_beforehand``.

    What is in ``learnt`` and ``popularity`` comes later too where the run has no training tokens.
    """
    if "future" in make().needs:
        return
    for training in (trace(TRAINING), None):
        for row, layer in CUTS:
            run = Run(trace(), training)
            policy = bound(make, run, run.context())
            if training is None and policy.learns_beforehand:
                continue
            other = Run(_other_from(row, layer), training)
            then = questions(bound(make, other, other.context()), other)
            said, later = (_until(asked, row, layer) for asked in (questions(policy, run), then))
            _compare(said, later, "where something else comes later")


def check_assumptions_are_sentences(make: Make) -> None:
    """``assumptions`` lists sentences, or nothing."""
    run = Run(trace())
    policy = bound(make, run)
    for _ in questions(policy, run):
        pass
    said: object = policy.assumptions()
    if not isinstance(said, list | tuple | str) or not all(isinstance(one, str) for one in said):
        raise BrokenRuleError("a list of sentences", shown(said))


RULES = (
    check_needs_are_known,
    check_says_that_it_learns_beforehand,
    check_flags_are_true_or_false,
    check_says_what_it_needs,
    check_raises_nothing,
    check_keeps_its_state_to_itself,
    check_says_the_same_in_the_same_run,
    check_leaves_what_it_is_given,
    check_does_not_know_the_future,
    check_assumptions_are_sentences,
)


def _answers(make: Make, run: Run) -> list[Asked]:
    return list(questions(bound(make, run), run))


def _fault(make: Make, run: Run, *, known: bool) -> str:
    """Return what a policy raises in a run, whose future it may know; "" if nothing or a refusal."""
    context = run.context()
    try:
        for _ in questions(bound(make, run, context if known else replace(context, future=None)), run):
            pass
    except InputError:
        return ""
    except Exception as error:  # noqa: BLE001 - whatever the code of a third party does
        return raised(error)
    return ""


def _compare(ones: list[Asked], others: list[Asked], how: str) -> None:
    """Refuse the first answer that differs. Errors: BrokenRuleError."""
    for one, other in zip_longest(ones, others):
        if one is None or other is None or one.answer != other.answer:
            raise BrokenRuleError(str(one), f"{other}, {how}")


def _until(asked: Iterator[Asked], row: int, layer: int) -> list[Asked]:
    """Return the questions before the run, and up to a layer step of a trace row."""
    last = row, layer
    return list(takewhile(lambda one: not one.event or (one.event.rows[-1], one.event.layer) <= last, asked))


def _other_from(row: int, layer: int) -> Trace:
    """Return the trace with other experts in all that comes after a layer step of a row."""
    same = trace()
    experts = (same.experts + 3) % N_EXPERTS
    experts[:row] = same.experts[:row]
    experts[row, : layer + 1] = same.experts[row, : layer + 1]
    return replace(same, experts=experts.astype(same.experts.dtype))
