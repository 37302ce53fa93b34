"""What a fit aims at, and which statistics each parameter moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.trace.synth.parameters import Parameters
from simulator.trace.synth.statistics import Floats


@dataclass(frozen=True, slots=True)
class Target:
    """A value that a statistic is to have: of one layer, or of the mean over layers (``layer`` None)."""

    statistic: str
    value: float
    layer: int | None = None
    source: str = ""

    def found(self, statistics: dict[str, Floats]) -> float:
        """Return what a synthetic trace has instead."""
        values = statistics[self.statistic]
        return float(np.nanmean(values) if self.layer is None else values[self.layer])


@dataclass(frozen=True, slots=True)
class Lever:
    """A parameter, the statistics that rise with it, those that fall, and where it may be.

    ``step`` is what is tried to see how far it moves them, and the longest step that is trusted;
    ``logarithmic``: steps are of the parameter's logarithm.
    """

    parameter: str
    rise: tuple[str, ...]
    fall: tuple[str, ...] = ()
    least: float = 0.0
    most: float = 8.0
    step: float = 0.5
    by_layer: bool = False
    logarithmic: bool = False

    @property
    def bounds(self) -> tuple[float, float]:
        """Return the least and the most, as the search counts."""
        if self.logarithmic:
            return float(np.log(self.least)), float(np.log(self.most))
        return self.least, self.most

    def start(self, parameters: Parameters, n_layers: int) -> Floats:
        """Return where the search begins: one value, or one for each layer."""
        if self.by_layer:
            return parameters.by_layer(self.parameter, n_layers)
        value = np.clip(getattr(parameters, self.parameter), self.least, self.most)
        return np.array([np.log(value) if self.logarithmic else value])


LEVERS = (
    Lever("skew", ("top_share", "activation_sd"), most=4, by_layer=True),
    Lever("stickiness", ("reuse_1", "first_repetition", "any_repetition"), most=12, by_layer=True),
    Lever("coupling", ("next_layer",), most=12, by_layer=True),
    Lever("domain_strength", ("reuse_4", "reuse_8", "reuse_16"), most=6, by_layer=True),
    Lever("drift", (), ("reuse_64",), least=1e-5, most=0.5, step=1, logarithmic=True),
    Lever("concentration", ("weight_1", "skip_share"), ("high_share",), 0.01, 50, logarithmic=True),
)


def put(start: Parameters, levers: Sequence[Lever], point: Sequence[Floats]) -> Parameters:
    """Return ``start`` with the parameters of a point, rounded so that a file can hold them exactly."""
    fitted: dict[str, float | tuple[float, ...]] = {}
    for lever, values in zip(levers, point, strict=True):
        numbers = np.exp(values) if lever.logarithmic else values
        rounded = tuple(float(f"{number:.4g}") for number in numbers)
        fitted[lever.parameter] = rounded if len(rounded) > 1 else rounded[0]
    return start.model_copy(update=fitted)
