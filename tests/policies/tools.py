"""What the tests of policies share: contexts, small demands, and shorthand for replays."""

from __future__ import annotations

from itertools import cycle

import numpy as np
from hypothesis import strategies as st

from policies.base import Context, Event
from policies.registry import create
from simulator.engine.future import KnownFuture
from simulator.engine.replay import replay
from simulator.trace.core import Trace, TraceHeader


def context(events=(), n_layers=1, n_experts=8, n_versions=1, seed=0, popularity=None, trace=None, model=""):
    """Return the context of a run with these events; popularity is counted in them."""
    if popularity is None:
        popularity = np.zeros((n_layers, n_experts), np.int64)
        for keys in events:
            np.add.at(popularity.reshape(-1), list(keys), 1)
    future = KnownFuture(events)
    known = {"future": future, "trace": trace, "popularity": popularity, "learnt": trace, "model": model}
    return Context(n_layers, n_experts, 1 if trace is None else trace.header.top_k, n_versions, seed, **known)


def bound(axis, spec, run):
    """Return a policy, made and bound."""
    policy = create(axis, spec)
    policy.bind(run)
    return policy


def hits(eviction, events, slots, *, admission="always", evict="on_insert", **run):
    """Return the hits of each event in one pool of equal slots, in a single layer."""
    known = context(events, **run)
    return replay(
        events,
        cycle([0]),
        [(slots, [0])],
        [1],
        lambda: bound("eviction", eviction, known),
        evict=evict,
        admission=bound("admission", admission, known),
    )


def event(keys, layer=0, index=0, rows=(0,)):
    """Return a demand event."""
    return Event(index, layer, keys, [1] * len(keys), [1.0] * len(keys), rows, decode=True)


def trace(experts, **arrays):
    """Return a trace of one sequence with these experts [T, L, k] and other arrays."""
    experts = np.asarray(experts, np.int16)
    n_tokens, n_layers, top_k = experts.shape
    header = TraceHeader(
        model="m", n_layers=n_layers, n_experts=8, top_k=top_k, moe_layers=tuple(range(n_layers)),
        n_model_layers=n_layers, recorder="test",
    )  # fmt: skip
    order = np.arange(n_tokens)
    return Trace(header, order * 0, order, np.ones(n_tokens, np.uint8), experts, **arrays)


@st.composite
def demands(draw, max_layers=3, max_experts=6):
    """Draw (events, layers, pools, sizes): a few passes of atomic multi-key events and a partition."""
    n_layers = draw(st.integers(1, max_layers))
    n_experts = draw(st.integers(1, max_experts))
    experts = st.lists(st.integers(0, n_experts - 1), max_size=4, unique=True)
    n_passes = draw(st.integers(1, 10))
    chosen = draw(st.lists(experts, min_size=n_passes * n_layers, max_size=n_passes * n_layers))
    layers = [i % n_layers for i in range(len(chosen))]
    events = [[layer * n_experts + e for e in keys] for layer, keys in zip(layers, chosen, strict=True)]
    sizes = draw(st.lists(st.integers(1, 3), min_size=n_layers, max_size=n_layers))
    if draw(st.booleans()):
        pools = [(draw(st.integers(0, 3 * n_layers * n_experts)), range(n_layers))]
    else:
        pools = [(draw(st.integers(0, 3 * n_experts)), [layer]) for layer in range(n_layers)]
    return events, layers, pools, sizes
