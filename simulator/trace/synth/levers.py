"""What a fit aims at, and which statistics each parameter moves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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


LEVERS = (
    Lever("skew", ("top_share", "activation_sd"), most=4, by_layer=True),
    Lever("stickiness", ("reuse_1", "first_repetition", "any_repetition"), most=12, by_layer=True),
    Lever("coupling", ("next_layer",), most=12, by_layer=True),
    Lever("domain_strength", ("reuse_4", "reuse_8", "reuse_16"), most=6, by_layer=True),
    Lever("drift", (), ("reuse_64",), least=1e-5, most=0.5, step=1, logarithmic=True),
    Lever("concentration", ("weight_1", "skip_share"), ("high_share",), 0.01, 50, logarithmic=True),
)
