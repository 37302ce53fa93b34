"""Repeated measurements: median and quartiles, and whether they agree well enough to be believed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

WIDE = 0.25
"""Quartiles this far apart, as a share of the median, make a number one to distrust."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What repeats of one measurement gave: median, quartiles, and how many there were."""

    median: float
    low: float
    high: float
    n: int

    @property
    def spread(self) -> float:
        """Return the distance between the quartiles as a share of the median."""
        return (self.high - self.low) / self.median

    def text(self, scale: float, unit: str) -> str:
        """Return the sample for a profile's ``source``, in ``unit`` of ``scale`` base units."""
        middle, low, high = (f"{value / scale:.4g}" for value in (self.median, self.low, self.high))
        doubt = f", spread {self.spread:.0%}: NOT RELIABLE" if self.spread > WIDE else ""
        return f"{middle} {unit}, quartiles {low} to {high}, {self.n} repeats{doubt}"


def sample(values: Sequence[float]) -> Sample:
    """Return median and quartiles of at least one value."""
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
    return Sample(median, low, high, len(values))


def repeat(measure: Callable[[], float], n: int) -> Sample:
    """Return the sample of ``n`` measurements after one that is thrown away (first touch, clocks, caches)."""
    measure()
    return sample([measure() for _ in range(n)])
