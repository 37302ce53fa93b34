"""Robust least squares with a simulator in the loop: few parameters, each evaluation a run.

Residuals are relative, with a loss that is quadratic up to ``SCALE`` and linear beyond it, so that spikes
do not lead. Parameters are positive, and fitted in the logarithms of their ratio to the start. The
uncertainty is that of the bootstrap over tokens (Efron, Bootstrap methods, 1979): each replica takes one
Gauss-Newton step from the solution with the derivatives found there, for which nothing has to be run again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator.errors import InputError
from simulator.validate.accuracy import Floats

SCALE = 0.05
STEP = 0.02  # of finite differences, in logarithms: wider than the nanoseconds' steps
TOLERANCE = 1e-4  # of parameters and loss, relative
EVALUATIONS = 20
REPLICAS = 1000

Predict = Callable[[Floats], Floats]


@dataclass(frozen=True, slots=True)
class Fit:
    """``values`` [P]; ``replicas`` [REPLICAS, P] of them; ``held`` [P]: who ended at a bound."""

    values: Floats
    replicas: Floats
    held: npt.NDArray[np.bool_]


def fit(
    predict: Predict,
    measured: Floats,
    start: Sequence[float],
    bounds: tuple[Sequence[float], Sequence[float]],
) -> Fit:
    """Fit positive parameters so that ``predict(values)`` [T] is near ``measured`` [T].

    ``bounds`` are the lowest and the highest values. Tokens that measured 0 have no relative residual and
    are left out. Errors: InputError without scipy, or with fewer tokens than parameters.
    """
    try:
        from scipy.optimize import least_squares
    except ImportError:
        raise InputError("validate", "needs scipy", "pip install 'moesim[validate]'") from None

    told = measured > 0
    if told.sum() < len(start):
        raise InputError(
            "validate", f"{told.sum()} tokens above 0 for {len(start)} parameters", "fit on more tokens"
        )
    first = np.array(start)
    low, high = (np.log(np.array(values) / first) for values in bounds)

    def residuals(x: Floats) -> Floats:
        return (predict(first * np.exp(x))[told] / measured[told] - 1) / SCALE

    def slope(x: Floats) -> Floats:
        ends = [(residuals(x + STEP / 2 * unit), residuals(x - STEP / 2 * unit)) for unit in np.eye(len(x))]
        return np.stack([(above - below) / STEP for above, below in ends], axis=1)

    found = least_squares(
        residuals,
        np.zeros(len(first)),
        slope,
        bounds=(low, high),
        loss="soft_l1",
        ftol=TOLERANCE,
        xtol=TOLERANCE,
        max_nfev=EVALUATIONS,
    )
    held = np.minimum(found.x - low, high - found.x) < STEP / 2
    replicas = np.tile(found.x, (REPLICAS, 1))
    replicas[:, ~held] += _bootstrap(slope(found.x)[:, ~held], found.fun)
    return Fit(first * np.exp(found.x), first * np.exp(np.clip(replicas, low, high)), held)


def _bootstrap(slope: Floats, residuals: Floats) -> Floats:
    """Return steps [REPLICAS, P] to the solutions of resampled tokens."""
    rng = np.random.default_rng(0)
    n = len(residuals)
    robust = 1 / np.sqrt(1 + residuals**2)
    centred = _solve(slope, residuals, robust)
    drawn = [np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(REPLICAS)]
    return np.array([_solve(slope, residuals, robust * times) for times in drawn]) - centred


def _solve(slope: Floats, residuals: Floats, weight: Floats) -> Floats:
    """Return the Gauss-Newton step [P] of weighted residuals."""
    root = np.sqrt(weight)
    return np.asarray(np.linalg.lstsq(slope * root[:, None], -residuals * root, rcond=None)[0])
