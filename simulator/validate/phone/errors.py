"""What the error of wall time is made of: compute (its level, bursts, a step), stall and management."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from simulator.validate.accuracy import Floats

NEIGHBOURS = (
    15  # tokens whose median is the level of compute time around a token; the least on a step's sides
)
FAULTS, NO_FAULTS = "bursts, tokens with major faults", "bursts, tokens without major faults"


@dataclass(frozen=True, slots=True)
class ClockStep:
    """The level of compute changes after ``token`` (counted from 1): medians in ms on both sides."""

    token: int
    before_ms: float
    after_ms: float


def find_step(compute_ms: Floats) -> ClockStep | None:
    """Return the step of a run's compute time, if it has one.

    It is where the absolute distances to the medians of both sides have the least sum, each side having
    ``NEIGHBOURS`` tokens or more. It counts if the middle halves of the two sides do not overlap.
    """
    ends = range(NEIGHBOURS, len(compute_ms) - NEIGHBOURS + 1)
    if not ends:
        return None

    def distance(values: Floats) -> float:
        return float(np.abs(values - np.median(values)).sum())

    at = min(ends, key=lambda end: distance(compute_ms[:end]) + distance(compute_ms[end:]))
    before, after = (np.quantile(side, (0.25, 0.5, 0.75)) for side in (compute_ms[:at], compute_ms[at:]))
    if before[0] <= after[2] and after[0] <= before[2]:
        return None
    return ClockStep(at, float(before[1]), float(after[1]))


def error_shares(table: pd.DataFrame) -> dict[str, float]:
    """Return what the error of wall time consists of: mean absolute ms a token.

    Compute is parted into its level (the median of the tokens around) and its bursts above or below that
    level, and these by whether the token had major page faults.
    """
    compute, faulted = table["measured_compute_ms"], table["measured_majflt"] > 0
    bursts = compute - _level(compute)
    parts = {
        "level of compute": level_error(table),
        NO_FAULTS: bursts.where(~faulted, 0.0),
        FAULTS: bursts.where(faulted, 0.0),
        "stall": table["measured_stall_ms"] - table["predicted_stall_ms"],
        "management": table["measured_mgmt_ms"] - table["predicted_mgmt_ms"],
    }
    return {name: float(values.abs().mean()) for name, values in parts.items()}


def level_error(table: pd.DataFrame) -> pd.Series[float]:
    """Return how far the level of compute is from the predicted compute, by token in ms."""
    return _level(table["measured_compute_ms"]) - table["predicted_compute_ms"]


def facts(table: pd.DataFrame, step: ClockStep | None) -> dict[str, str]:
    """Return rows for a part that tell clock, faults and the rest apart; a dash where they cannot be.

    ``step`` is that of the whole run.
    """
    faults, compute = table["measured_majflt"], table["measured_compute_ms"]
    wall = (table["measured_wall_ms"] - table["predicted_wall_ms"]).abs().mean()
    calm, bursts = table[faults == 0], compute - _level(compute)
    level = level_error(table).abs()
    behind = level[table["token"] > step.token].sum() / level.sum() if step and level.any() else np.nan
    varies = faults.std() > 0 and compute.std() > 0
    return {
        "error of wall (the five cancel in part)": f"{wall:.1f}",
        "level, by tokens without major faults alone": _text(
            level_error(calm).abs().mean() if len(calm) >= NEIGHBOURS else np.nan, ".1f"
        ),
        "of the level: tokens behind the step": _text(behind, ".0%"),
        "median burst, tokens with major faults less those without": _text(
            bursts[faults > 0].median() - bursts[faults == 0].median(), ".1f"
        ),
        "tokens with major faults": f"{(faults > 0).sum()} of {len(faults)}",
        "major faults a token": f"{faults.mean():,.0f}",
        "their correlation with compute": _text(faults.corr(compute) if varies else np.nan, ".2f"),
    }


def _level(compute: pd.Series[float]) -> pd.Series[float]:
    return compute.rolling(NEIGHBOURS, center=True, min_periods=1).median()


def _text(value: float, form: str) -> str:
    return "-" if np.isnan(value) else format(value, form)
