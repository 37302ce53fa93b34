"""Find the parameters whose synthetic traces have given statistics.

Every parameter has statistics that it moves, its levers. The parameters' steps are those of Newton's
method on the mean errors of the levers, with a Jacobian that is measured once and then corrected by what
each step did (Broyden, Mathematics of Computation 19, 1965). A parameter with one value a layer takes,
besides, the step of each layer's own deviation from the mean error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from simulator.trace.synth.levers import LEVERS, Lever, Target, put
from simulator.trace.synth.parameters import Parameters
from simulator.trace.synth.statistics import Floats

Measure = Callable[[Parameters], dict[str, Floats]]
STEPS = 14
SMALL = 1e-9
CLOSE = 0.003


@dataclass(frozen=True, slots=True)
class Fit:
    """Parameters and the statistics of their trace."""

    parameters: Parameters
    statistics: dict[str, Floats]


def fit(start: Parameters, n_layers: int, targets: Sequence[Target], measure: Measure) -> Fit:
    """Return the best parameters found from ``start``; those that no target moves stay as they are."""
    levers = [lever for lever in LEVERS if _of(lever, targets)]
    if not levers:
        return Fit(start, measure(start))
    point = [lever.start(start, n_layers) for lever in levers]
    errors, statistics = _errors(levers, point, start, targets, measure)
    best = (_size(errors), point, statistics)
    steps = np.array([lever.step for lever in levers])
    slopes = np.zeros((len(levers), len(levers)))
    for i, step in enumerate(steps):
        moved = [*point]
        moved[i] = point[i] + step
        there, _ = _errors(levers, moved, start, targets, measure)
        slopes[:, i] = _means(errors) - _means(there)
    for _ in range(STEPS):
        if best[0] < CLOSE:
            break
        ahead = np.linalg.lstsq(slopes, _means(errors), rcond=0.02)[0]
        ahead *= steps / max(float(np.abs(ahead).max()), 1.0)
        before, means = point, _means(errors)
        point = [
            np.clip(values + ahead[i] + _own(errors[i], slopes[i, i], lever.step), *lever.bounds)
            for i, (lever, values) in enumerate(zip(levers, point, strict=True))
        ]
        errors, statistics = _errors(levers, point, start, targets, measure)
        best = min(best, (_size(errors), point, statistics), key=lambda found: found[0])
        taken = np.array([(new - old).mean() for new, old in zip(point, before, strict=True)]) / steps
        if taken @ taken > SMALL:
            missed = (means - _means(errors)) - slopes @ taken
            slopes += np.outer(missed, taken) / (taken @ taken)
    return Fit(put(start, levers, best[1]), best[2])


def _of(lever: Lever, targets: Sequence[Target]) -> list[Target]:
    return [target for target in targets if target.statistic in lever.rise + lever.fall]


def _errors(
    levers: Sequence[Lever],
    point: Sequence[Floats],
    start: Parameters,
    targets: Sequence[Target],
    measure: Measure,
) -> tuple[list[Floats], dict[str, Floats]]:
    """Return by how much each lever is to be raised, in its statistics, for each value of its parameter."""
    statistics = measure(put(start, levers, point))
    return [
        _error(lever, values, _of(lever, targets), statistics)
        for lever, values in zip(levers, point, strict=True)
    ], statistics


def _error(lever: Lever, values: Floats, targets: Sequence[Target], statistics: dict[str, Floats]) -> Floats:
    """Return the mean error of a lever's targets, of each layer where they name layers and in between."""
    known: dict[int | None, list[float]] = {}
    for target in targets:
        sign = -1 if target.statistic in lever.fall else 1
        layer = target.layer if len(values) > 1 else None
        known.setdefault(layer, []).append(sign * (target.value - target.found(statistics)))
    error = np.full(len(values), np.mean(known.pop(None, [0.0])))
    if known:
        layers = sorted(layer for layer in known if layer is not None)
        error += np.interp(np.arange(len(values)), layers, [np.mean(known[layer]) for layer in layers])
    return error


def _own(errors: Floats, slope: float, step: float) -> Floats:
    """Return the steps of single layers, from their deviations from the mean error."""
    if slope <= 0:
        return np.zeros(len(errors))
    own: Floats = step * np.clip((errors - errors.mean()) / slope, -1, 1)
    return own


def _means(errors: Sequence[Floats]) -> Floats:
    return np.array([values.mean() for values in errors])


def _size(errors: Sequence[Floats]) -> float:
    """Return the root mean square error, each lever counted once."""
    return float(np.sqrt(np.mean([np.mean(values**2) for values in errors])))
