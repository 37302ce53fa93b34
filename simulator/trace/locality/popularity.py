"""Popularity: how evenly each layer's experts are used."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from simulator.trace.core import MISSING
from simulator.trace.locality.routing import Routing
from simulator.trace.locality.table import Number, Row, mean


def popularity(routing: Routing) -> Iterator[Row]:
    """Yield entropy (over log E: 1 is even) and the share of the ceil(E / 10) most used, and their means."""
    uses = [
        np.bincount(ids[ids != MISSING], minlength=routing.n_experts)
        for ids in routing.experts.transpose(1, 0, 2)
    ]
    n = [int(layer.sum()) for layer in uses]
    found: dict[str, list[Number]] = {"entropy": [], "top_share": []}
    for layer in uses:
        total, top = layer.sum(), math.ceil(routing.n_experts / 10)
        shares = layer[layer > 0] / max(total, 1)
        even = math.log(routing.n_experts)
        entropy = -math.fsum(shares * np.log(shares)) / even if total and even else None
        found["entropy"].append(entropy)
        found["top_share"].append(float(np.sort(layer)[-top:].sum() / total) if total else None)
    for name, values in found.items():
        yield Row(name, mean(values), sum(n))
        for index, value in enumerate(values):
            yield Row(name, value, n[index], layer=index)
