"""Repeated measurements: median and quartiles, and whether they agree well enough to be believed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

WIDE = 0.25
"""Quartiles this far apart, as a share of the median, make a number one to distrust."""
DOUBT = "NOT RELIABLE"


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
        doubt = f", spread {self.spread:.0%}: {DOUBT}" if self.spread > WIDE else ""
        return f"{middle} {unit}, quartiles {low} to {high}, {self.n} repeats{doubt}"


def worst(samples: Mapping[str, Sample]) -> str:
    """Return, for the ``source`` of a number that is made of several, how steady they were and which not."""
    by = max(samples, key=lambda name: samples[name].spread)
    wide = [name for name, found in samples.items() if found.spread > WIDE]
    doubt = f"; {DOUBT}: {', '.join(wide)}" if wide else ""
    return f"{samples[by].n} repeats, quartiles at most {samples[by].spread:.0%} apart ({by}){doubt}"


def sample(values: Sequence[float]) -> Sample:
    """Return median and quartiles of at least one value."""
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
    return Sample(median, low, high, len(values))


def repeat(measure: Callable[[], float], n: int) -> Sample:
    """Return the sample of ``n`` measurements after one that is thrown away (first touch, clocks, caches)."""
    measure()
    return sample([measure() for _ in range(n)])
