"""How far predictions are from measurements."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Relative errors over tokens: ``median``, ``mean`` and ``p90`` of the absolute ones.

    ``bias`` is the error of the sum; ``r2`` is 1 minus the squared residuals over those about the mean of
    the measured (below 0: worse than that mean; NaN where all measured are equal).
    """

    median: float
    mean: float
    p90: float
    r2: float
    bias: float


def accuracy(predicted: Floats, measured: Floats) -> Accuracy:
    """Compare two arrays [tokens]; what is measured is above 0."""
    error = np.abs(predicted / measured - 1)
    spread = float(((measured - measured.mean()) ** 2).sum())
    residual = float(((predicted - measured) ** 2).sum())
    return Accuracy(
        median=float(np.median(error)),
        mean=float(error.mean()),
        p90=float(np.quantile(error, 0.9)),
        r2=1 - residual / spread if spread else float("nan"),
        bias=float(predicted.sum() / measured.sum() - 1),
    )
