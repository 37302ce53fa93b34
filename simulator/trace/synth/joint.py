"""Find the parameters whose synthetic traces come closest to statistics that have a size.

What a cache of one size hits depends on every parameter that makes experts return. So all targets are met
together, in least squares, with one value of each parameter for all layers: the method of Levenberg and
Marquardt, with slopes that are measured once and then corrected by what each step did (Broyden).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.trace.synth.fit import Fit, Measure
from simulator.trace.synth.levers import LEVERS, Lever, Target, put
from simulator.trace.synth.parameters import Parameters
from simulator.trace.synth.sized import parse
from simulator.trace.synth.statistics import Floats

TRIED = 24
CLOSE = 0.002
RETURNS = ("skew", "stickiness", "domain_strength", "drift")


@dataclass(frozen=True, slots=True)
class _Point:
    """A point of the search: the parameters in steps of their levers, and how far the targets are off."""

    steps: Floats
    off: Floats
    parameters: Parameters
    statistics: dict[str, Floats]

    @property
    def size(self) -> float:
        """Return the root mean square error."""
        return float(np.sqrt(np.mean(self.off**2)))


def fit_jointly(start: Parameters, n_layers: int, targets: Sequence[Target], measure: Measure) -> Fit:
    """Return the best parameters found from ``start``; those that no target moves stay as they are."""
    levers = [lever for lever in LEVERS if any(_moves(lever, target) for target in targets)]
    scale = np.array([lever.step for lever in levers])
    least, most = np.array([lever.bounds for lever in levers]).T / scale

    def at(steps: Floats) -> _Point:
        parameters = put(start, levers, (steps * scale)[:, None])
        statistics = measure(parameters)
        off = np.array([target.found(statistics) - target.value for target in targets])
        return _Point(steps, off, parameters, statistics)

    best = at(np.array([lever.start(start, n_layers).mean() for lever in levers]) / scale)
    slopes = np.stack([at(best.steps + one).off - best.off for one in np.eye(len(levers))], axis=1)
    damping = 1e-3
    for _ in range(TRIED):
        if best.size < CLOSE:
            break
        uphill = slopes.T @ best.off
        free = ~((uphill > 0) & (best.steps <= least) | (uphill < 0) & (best.steps >= most))
        hessian = slopes[:, free].T @ slopes[:, free] + damping * np.eye(free.sum())
        step = np.zeros(len(levers))
        step[free] = np.linalg.solve(hessian, -uphill[free])
        step /= max(float(np.abs(step).max()), 1.0)
        tried = at(np.clip(best.steps + step, least, most))
        taken = tried.steps - best.steps
        if not taken.any():
            break
        missed = tried.off - best.off - slopes @ taken
        slopes += np.outer(missed, taken) / (taken @ taken)
        better = tried.size < best.size
        damping *= 0.3 if better else 5
        best = tried if better else best
    return Fit(best.parameters, best.statistics)


def _moves(lever: Lever, target: Target) -> bool:
    if parse(target.statistic):
        return lever.parameter in RETURNS
    return target.statistic in lever.rise + lever.fall
