"""Random draws that are the same on every machine: integers from PCG64, quantiles from tables.

numpy promises the bits of PCG64 for ever, its distributions only within a version. So a draw is 16 of
these bits, looked up in a table of quantiles that is rounded to 1/4096: a logarithm that differs in
its last bit between two machines does not show.
"""

from __future__ import annotations

import math
from functools import cache
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

UNIT = 1 << 12  # what one nat is, in the integers that logits are added up in
LEVELS = 1 << 16

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]


def to_units(nats: Any) -> Ints:
    """Return nats as whole units."""
    units: Ints = np.rint(np.asarray(nats) * UNIT).astype(np.int32)
    return units


@cache
def gumbel_table() -> Ints:
    """Return the standard Gumbel distribution's quantiles in units, at the middle of each level."""
    middles = ((level + 0.5) / LEVELS for level in range(LEVELS))
    return to_units([-math.log(-math.log(p)) for p in middles])


@cache
def normal_table() -> Ints:
    """Return the standard normal distribution's quantiles in units, at the middle of each level."""
    quantile = NormalDist().inv_cdf
    return to_units([quantile((level + 0.5) / LEVELS) for level in range(LEVELS)])


class Draws:
    """A stream of draws; ``(seed, purpose, block)`` are independent of each other."""

    def __init__(self, seed: int, purpose: int, block: int = 0) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(purpose, block)))

    def gumbel(self, shape: tuple[int, ...]) -> Ints:
        """Return standard Gumbel noise, in units."""
        return gumbel_table()[self.levels(shape)]

    def normal(self, shape: tuple[int, ...]) -> Ints:
        """Return standard normal noise, in units."""
        return normal_table()[self.levels(shape)]

    def levels(self, shape: tuple[int, ...]) -> npt.NDArray[np.uint16]:
        """Return 16 uniform bits for each entry."""
        size = math.prod(shape)
        raw = self._bits.random_raw(-(-size // 4)).astype("<u8", copy=False)
        return raw.view("<u2")[:size].reshape(shape)

    def uniform(self, shape: tuple[int, ...]) -> Floats:
        """Return uniform numbers of [0, 1), of 53 bits."""
        raw = self._bits.random_raw(math.prod(shape)) >> np.uint64(11)
        return raw.reshape(shape).astype(np.float64) * 2.0**-53
