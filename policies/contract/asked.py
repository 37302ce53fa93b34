"""What a policy is asked in a run, axis by axis, as the engine asks: each question with its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from policies import base
from policies.base import Event, Policy
from policies.contract.rule import Make, is_whole, shown
from policies.contract.toy import Run, bound
from policies.contract.toy_trace import trace

SLOTS = 6
"""Experts that the small cache of these questions holds."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question and its answer: who was asked what in which step, given what, and what came back.

    ``event`` is None for what is asked before the run. An answer that can be gone through is a list.
    """

    policy: Policy
    method: str
    event: Event | None
    given: tuple[Any, ...]
    answer: Any

    @property
    def step(self) -> Event:
        """Return the event of a question that is asked in a step."""
        assert self.event is not None
        return self.event

    def __str__(self) -> str:
        """Return the answer, whose it is, and the step."""
        where = f" (layer {self.event.layer}, event {self.event.index})" if self.event is not None else ""
        return f"{shown(self.answer)} from {self.method}{where}"


def each_answer(make: Make, method: str) -> Iterator[Asked]:
    """Yield what a method answers, in a run of one precision and in one of two."""
    for n_versions in (1, 2):
        run = Run(trace(), n_versions=n_versions)
        policy = bound(make, run)
        yield from (asked for asked in questions(policy, run) if asked.method == method)


def questions(policy: Policy, run: Run) -> Iterator[Asked]:
    """Ask a bound policy everything that its axis is asked in a run, step by step."""
    ask = next(ask for axis, ask in ASKS.items() if isinstance(policy, axis))
    for method, event, given, answer in ask(policy, run):
        yield Asked(policy, method, event, given, answer)


Answer = tuple[str, Event | None, tuple[Any, ...], Any]


def _steps(policy: Policy, run: Run) -> Iterator[Event]:
    """Yield the events of a run, and tell the policy when a sequence starts."""
    begun = -1
    for event in run.events(with_mass="gate_weights" in policy.needs):
        sequence = int(run.trace.sequence[event.rows[0]])
        if sequence != begun:
            begun = sequence
            policy.on_sequence_start()
        yield event


def _eviction(policy: base.Eviction, run: Run) -> Iterator[Answer]:
    n, n_experts, layers = run.n_versions, policy.context.n_experts, range(policy.context.n_layers)
    start = _listed(policy.preload(layers))
    yield "preload", None, (layers,), start
    here: dict[int, None] = {}
    for expert in start[:SLOTS] if isinstance(start, list) else []:
        if is_whole(expert):
            here[expert * n] = None
            policy.on_insert(expert * n)
    for event in _steps(policy, run):
        yield "residency", event, (), _listed(policy.residency(event))
        served = _versions(event, n)
        policy.observe(event, served)
        policy.on_use(served, event.index)
        prefetched = (event.keys[0] + n_experts) % (n_experts * len(layers)) * n
        for key in [*served, prefetched]:
            blocked = frozenset({*served, key})
            while key not in here and len(here) >= SLOTS:
                victim = policy.victim(blocked)
                yield "victim", event, (blocked,), victim
                if not is_whole(victim) or victim not in here or victim in blocked:
                    break
                del here[victim]
                policy.on_evict(victim)
            else:
                if key not in here and key == prefetched:
                    policy.on_insert(key)
                here[key] = None
            if key not in here and key != prefetched:
                policy.on_evict(key)


def _admission(policy: base.Admission, run: Run) -> Iterator[Answer]:
    for event in _steps(policy, run):
        keys = _missed(event, run.n_versions)
        yield "order", event, (keys,), _listed(policy.order(keys, event.index))
        for key in keys:
            for victim in range(0, policy.context.n_experts, 3):
                yield "admits", event, (key, victim), policy.admits(key, victim, event.index)


def _partition(policy: base.Partition, _: Run) -> Iterator[Answer]:
    sizes = tuple(policy.context.sizes[0])
    for capacity in (100 * sum(sizes), 8 * sum(sizes), 3 * sum(sizes) + 1, max(sizes), 0):
        found = _listed(policy.pools(capacity, sizes))
        if isinstance(found, list):
            found = [tuple(map(_listed, one)) if isinstance(one, tuple | list) else one for one in found]
        yield "pools", None, (capacity, sizes), found


def _prefetch(policy: base.Prefetch, run: Run) -> Iterator[Answer]:
    n_keys = policy.context.n_layers * policy.context.n_experts * run.n_versions
    for event in _steps(policy, run):
        resident = frozenset(key for key in range(n_keys) if (5 * key + event.index) % 3 == 0)
        yield "wishes", event, (resident,), _listed(policy.wishes(event, resident))


def _precision(policy: base.Precision, run: Run) -> Iterator[Answer]:
    every = run.trace.weights
    every = np.ones(run.trace.experts.shape) if every is None else every
    for event in _steps(policy, run):
        yield "wanted", event, (), _listed(policy.wanted(event))
        at = list(event.rows), event.layer
        experts, weights = (tuple(map(tuple, a[at].tolist())) for a in (run.trace.experts, every))
        yield "foreseen", event, (experts,), policy.foreseen(experts, weights, event.layer)
        for wanted in range(base.UNWANTED, run.n_versions):
            for version in range(run.n_versions):
                yield "accepts", event, (version, wanted), policy.accepts(version, wanted)


def _placement(policy: base.Placement, run: Run) -> Iterator[Answer]:
    for event in _steps(policy, run):
        missed = _missed(event, run.n_versions)
        in_dram = tuple((key + event.index) % 4 > 0 for key in missed)
        yield "place", event, (missed,), _listed(policy.place(event, missed, in_dram))


def _routing(policy: base.Routing, run: Run) -> Iterator[Answer]:
    for event in _steps(policy, run):
        hit = tuple((key + event.index) % 2 == 0 for key in event.keys)
        yield "rewrite", event, (hit,), _listed(policy.rewrite(event, hit))


def _order(policy: base.Order, run: Run) -> Iterator[Answer]:
    for event in _steps(policy, run):
        missed = _missed(event, run.n_versions)
        yield "order", event, (missed,), _listed(policy.order(event, missed))


ASKS: Mapping[type[Policy], Callable[[Any, Run], Iterator[Answer]]] = {
    base.Eviction: _eviction,
    base.Admission: _admission,
    base.Partition: _partition,
    base.Prefetch: _prefetch,
    base.Precision: _precision,
    base.Placement: _placement,
    base.Routing: _routing,
    base.Order: _order,
}


def _versions(event: Event, n_versions: int) -> tuple[int, ...]:
    """Return the version keys that serve a step, now of one precision, now of another."""
    return tuple(key * n_versions + (key + event.index) % n_versions for key in event.keys)


def _missed(event: Event, n_versions: int) -> tuple[int, ...]:
    """Return the keys of a step that are not there: all of them, or all but the first."""
    return _versions(event, n_versions)[event.index % 2 :]


def _listed(answer: Any) -> Any:
    """Return an answer as a list of Python's own numbers, if it can be gone through."""
    if isinstance(answer, np.ndarray):
        return answer.tolist()
    return list(answer) if isinstance(answer, Iterable) and not isinstance(answer, str | Mapping) else answer
