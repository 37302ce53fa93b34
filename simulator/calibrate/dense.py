"""A layer's dense work: products of square matrices, of numpy and of PyTorch alike."""

from __future__ import annotations

from typing import Any

DENSE_MATRICES = 4
"""Square matrices of a layer's dense work: as many products as attention is charged for."""


def products(matrices: Any, x: Any) -> Any:
    """Return ``x`` [hidden, 1] times each of ``matrices`` [DENSE_MATRICES, hidden, hidden] in turn."""
    for matrix in matrices:
        x = matrix @ x
    return x


def dense_layer(matrices: Any, x: Any) -> Any:
    """Return the products, scaled to a largest value of 1, so that they stay finite layer after layer."""
    x = products(matrices, x)
    return x / abs(x).max()
