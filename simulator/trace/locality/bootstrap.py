"""Bootstrap intervals: what a statistic would be if other sequences like these had been recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

RESAMPLES, CONFIDENCE, SEED = 1000, 0.95, 0
ONE_SEQUENCE = "no interval: one sequence"

Array = npt.NDArray[Any]


class Bootstrap:
    """Resamples the sequences of a trace, always in the same way."""

    def __init__(self, n_sequences: int) -> None:
        shares = np.full(n_sequences, 1 / n_sequences)
        self.weights = np.random.default_rng(SEED).multinomial(n_sequences, shares, RESAMPLES).astype(float)

    def interval(
        self, totals: Array, statistic: Callable[[Array], Array]
    ) -> tuple[float, float] | tuple[None, None]:
        """Return the 95 % interval of a statistic of the sum of ``totals`` [S, n] over sequences.

        ``statistic`` maps sums [R, n] to values [R]. The interval is the basic one, 2 x value - quantiles,
        as in the paper that SRP and SCH are from (arXiv 2505.16056), kept within 0 and 1. None, None where
        fewer than two sequences have anything counted.
        """
        if np.count_nonzero(totals.any(axis=1)) < 2:
            return None, None
        value = statistic(totals.sum(axis=0, keepdims=True).astype(float))[0]
        samples = statistic(self.weights @ totals)
        tail = (1 - CONFIDENCE) / 2
        above, below = np.nanquantile(samples, [1 - tail, tail])
        return max(0.0, float(2 * value - above)), min(1.0, float(2 * value - below))


def quotient(sums: Array) -> Array:
    """Return the quotient of the two columns of ``sums`` [R, 2]; nan where nothing was counted."""
    counted: Array = np.where(sums[:, 1] > 0, sums[:, 1], np.nan)
    shares: Array = sums[:, 0] / counted
    return shares
