"""A small run to check policies in: the events of a trace, and what a policy is told of the run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from policies.base import NEVER, Context, Event, Policy
from policies.beforehand import as_read_by
from policies.contract.rule import Make
from policies.precision.fixed import Fixed
from simulator.trace.core import DECODE, PREFILL, Trace
from simulator.trace.parts import fixed, read_only


@dataclass(frozen=True, slots=True)
class Run:
    """What is replayed, what is learnt from beforehand if anything, and in how many precisions."""

    trace: Trace
    training: Trace | None = None
    n_versions: int = 1

    def passes(self) -> Iterator[list[int]]:
        """Yield the trace rows of each pass over the model: a prompt as a whole, then token by token."""
        trace = self.trace
        for sequence in np.unique(trace.sequence):
            here = trace.sequence == sequence
            if len(prompt := np.flatnonzero(here & (trace.phase == PREFILL))):
                yield prompt.tolist()
            yield from ([int(row)] for row in np.flatnonzero(here & (trace.phase == DECODE)))

    def events(self, *, with_mass: bool = True) -> list[Event]:
        """Return every layer step in order, newly made; without mass, every token weighs the same."""
        trace = self.trace
        weights = trace.weights if with_mass else None
        if weights is None:
            weights = np.full(trace.experts.shape, 1 / trace.header.top_k)
        found: list[Event] = []
        for rows in self.passes():
            decode = bool(trace.phase[rows[-1]] == DECODE)
            for layer in range(trace.header.n_layers):
                first = layer * trace.header.n_experts
                tokens: dict[int, int] = {}
                mass: dict[int, float] = {}
                pairs = zip(trace.experts[rows, layer].flat, weights[rows, layer].flat, strict=True)
                for expert, weight in pairs:
                    key = first + int(expert)
                    tokens[key] = tokens.pop(key, 0) + 1  # the last occurrence gives the place
                    mass[key] = mass.get(key, 0.0) + float(weight)
                gate_mass = tuple(mass[key] for key in tokens)
                keys, counts = tuple(tokens), tuple(tokens.values())
                found.append(Event(len(found), layer, keys, counts, gate_mass, tuple(rows), decode))
        return found

    def context(self, demand: Sequence[Sequence[int]] | None = None) -> Context:
        """Return what a policy is told; the future is that of ``demand``, else of the run's own events."""
        header = self.trace.header
        learnt = self.training or self.trace
        layers = range(header.n_layers)
        counts = [np.bincount(learnt.experts[:, i].ravel(), minlength=header.n_experts) for i in layers]
        sizes = tuple(tuple((900 + 100 * layer) >> n for layer in layers) for n in range(self.n_versions))
        known = Context(
            n_layers=header.n_layers,
            n_experts=header.n_experts,
            top_k=header.top_k,
            n_versions=self.n_versions,
            seed=7,
            future=Known([event.keys for event in self.events()] if demand is None else demand),
            trace=read_only(self.trace),
            popularity=fixed(np.array(counts, np.int64)),
            training=self.training and read_only(self.training),
            learnt=read_only(learnt),
            costs=Costs(sizes),
            sizes=sizes,
            model=header.model,
        )
        precision = Fixed()
        precision.bind(known)
        return replace(known, precision=precision)


def bound(make: Make, run: Run, context: Context | None = None) -> Policy:
    """Return a new policy that has taken its context: the run's, with the future if its ``needs`` name it.

    Errors: InputError (the policy refuses the run).
    """
    policy = make()
    if context is None:
        context = run.context()
        context = context if "future" in policy.needs else replace(context, future=None)
    policy.check(run.trace)
    if run.training is not None:
        policy.check_training(run.training)
    policy.bind(as_read_by(policy, context))
    return policy


class Known:
    """The demand of a whole run, by event; implements ``policies.base.Future``."""

    def __init__(self, events: Sequence[Sequence[int]]) -> None:
        self.events = events

    def keys(self, event: int) -> list[int]:
        """Return what an event demands."""
        return list(self.events[event]) if event < len(self.events) else []

    def next_use(self, key: int, event: int) -> int:
        """Return the next event that demands ``key``."""
        return next((i for i in range(event + 1, len(self.events)) if key in self.events[i]), NEVER)

    def next_uses(self, event: int) -> list[int]:
        """Return the next use of each key of an event."""
        return [self.next_use(key, event) for key in self.keys(event)]


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs in proportion to bytes; implements ``policies.base.Costs``."""

    sizes: Sequence[Sequence[int]]

    def expert_ns(self, layer: int, version: int, tokens: int) -> int:
        """Return the time on the main unit."""
        return self.sizes[version][layer] * (3 + tokens)

    def cpu_expert_ns(self, layer: int, version: int, tokens: int) -> int:
        """Return the time on the CPU."""
        return 9 * self.expert_ns(layer, version, tokens)

    def fetch_ns(self, layer: int, version: int) -> int:
        """Return the time of a transfer."""
        return self.sizes[version][layer] * 30
