"""The benchmark's workload, fixed: routing that repeats and concentrates as a real model's does.

Per layer, logits = -0.8 log(rank) under a random permutation of the experts, + 2.1 on the experts that the
previous token chose there, + Gumbel noise; top k. Seeded. A per-layer LRU of half the experts hits
.844 (Mixtral-like) and .831 (Qwen3-like) of the lookups.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Shape:
    """Layers, experts, k, and how many tokens the benchmark replays."""

    name: str
    n_layers: int
    n_experts: int
    top_k: int
    n_tokens: int
    hit_rate: float


MIXTRAL = Shape("mixtral-like 32x8x2", 32, 8, 2, 4000, 0.844)
QWEN3 = Shape("qwen3-like 48x128x8", 48, 128, 8, 1000, 0.831)
SHAPES = (MIXTRAL, QWEN3)


def routing(shape: Shape, seed: int = 0) -> npt.NDArray[np.int16]:
    """Return experts [token, layer, k], best first."""
    rng = np.random.default_rng(seed)
    layers = np.arange(shape.n_layers)[:, None]
    ranks = np.argsort(rng.random((shape.n_layers, shape.n_experts)), axis=1) + 1
    base = -0.8 * np.log(ranks)
    chosen = np.empty((shape.n_tokens, shape.n_layers, shape.top_k), dtype=np.int16)
    bonus = np.zeros((shape.n_layers, shape.n_experts))
    for token in range(shape.n_tokens):
        logits = base + bonus + rng.gumbel(size=base.shape)
        chosen[token] = np.argsort(-logits, axis=1)[:, : shape.top_k]
        bonus[:] = 0.0
        bonus[layers, chosen[token]] = 2.1
    return chosen
