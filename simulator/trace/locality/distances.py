"""Reuse distances, and what LRU finds at every cache size.

The distance of a use is how many other experts of its layer were used since the last use of the same one,
up to the end of the token before: a token's k experts are looked up at once. Where tokens come one by one,
LRU with room for ``size`` experts a layer hits exactly the uses at distances below ``size`` (Mattson et al.,
Evaluation techniques for storage hierarchies, IBM Systems Journal 1970). The cache starts empty once and
is kept between sequences. It must hold a token's k experts, so smaller sizes are left out.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from simulator.trace.locality.bootstrap import Array
from simulator.trace.locality.routing import Routing
from simulator.trace.locality.table import Row, ratio


def distances(routing: Routing) -> Iterator[Row]:
    """Yield the shares of uses at each distance by layer, and LRU's hit rate by cache size."""
    top_k, n_experts = routing.shape[2], routing.n_experts
    counts = histogram(routing)
    uses = counts.sum(axis=1)
    for layer, at in enumerate(counts):
        for distance in range(n_experts):
            yield Row(
                "reuse_distance",
                ratio(at[distance], uses[layer]),
                int(at[distance]),
                layer=layer,
                distance=distance,
            )
        yield Row(
            "reuse_distance",
            ratio(at[-1], uses[layer]),
            int(at[-1]),
            layer=layer,
            note="used for the first time",
        )
    hits = counts[:, :-1].cumsum(axis=1)
    for size in range(top_k, n_experts + 1):
        yield Row("lru_hit_rate", ratio(hits[:, size - 1].sum(), uses.sum()), int(uses.sum()), size=size)
        for layer, of in enumerate(uses):
            yield Row("lru_hit_rate", ratio(hits[layer, size - 1], of), int(of), layer=layer, size=size)


def histogram(routing: Routing) -> Array:
    """Count the uses [L, E + 1] at each distance 0..E-1, and in the last column those that are the first."""
    n_tokens, n_layers, top_k = routing.shape
    n_experts = routing.n_experts
    counts = np.zeros((n_layers, n_experts + 1), dtype=np.int64)
    last = np.full((n_layers, n_experts), -1, dtype=np.int64)
    slots = np.arange(top_k)
    for token in range(n_tokens):
        layers = np.flatnonzero(routing.recorded[token])[:, None]
        ids = routing.experts[token, layers[:, 0]]
        since = last[layers, ids]
        found = (last[layers] > since[:, :, None]).sum(axis=2)
        found[since < 0] = n_experts
        np.add.at(counts, (layers, found), 1)
        last[layers, ids] = token * top_k + slots
    return counts
