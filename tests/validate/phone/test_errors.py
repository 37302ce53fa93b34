"""What the error of wall time is made of, by hand: level, bursts, faults, and the step of a clock."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from simulator.validate.phone.errors import (
    FAULTS,
    NEIGHBOURS,
    NO_FAULTS,
    ClockStep,
    error_shares,
    facts,
    find_step,
)

N = 31


def made(compute: npt.NDArray[np.float64], faults: npt.NDArray[np.float64]) -> pd.DataFrame:
    """Return tokens that are predicted to compute for 80 ms and to wait as they did."""
    names = ("stall", "mgmt")
    other = {f"{who}_{name}_ms": np.ones(N) for who in ("measured", "predicted") for name in names}
    return pd.DataFrame(
        {
            "token": np.arange(1, N + 1),
            "measured_compute_ms": compute,
            "predicted_compute_ms": np.full(N, 80.0),
            "measured_majflt": faults,
            "measured_wall_ms": compute + 2,
            "predicted_wall_ms": np.full(N, 82.0),
            **other,
        }
    )


def test_level_and_bursts_of_compute_with_and_without_faults() -> None:
    compute, faults = np.full(N, 90.0), np.zeros(N)
    compute[15], compute[20] = 400.0, 121.0
    faults[20] = 7
    shares = error_shares(made(compute, faults))
    assert shares["level of compute"] == 10
    assert shares[NO_FAULTS] == pytest.approx(310 / N)
    assert shares[FAULTS] == pytest.approx(31 / N)
    assert shares["stall"] == shares["management"] == 0


def test_parts_that_cancel_add_up_to_more_than_the_error() -> None:
    compute = np.full(N, 90.0)
    compute[3] = 80.0  # 10 below its level, which is 10 above what was predicted
    table = made(compute, np.zeros(N))
    assert sum(error_shares(table).values()) == pytest.approx(10 + 10 / N)
    assert facts(table, None)["error of wall (the five cancel in part)"] == f"{10 - 10 / N:.1f}"


def test_a_level_that_calm_tokens_show_is_told_and_where_none_is_calm_it_is_a_dash() -> None:
    compute, faults = np.full(N, 90.0), np.zeros(N)
    compute[:10], faults[:10] = 200.0, 5.0
    name = "level, by tokens without major faults alone"
    found = facts(made(compute, faults), None)
    assert found[name] == "10.0"
    assert found["tokens with major faults"] == f"10 of {N}"
    assert found["their correlation with compute"] == "1.00"
    found = facts(made(compute, faults + 1), None)
    assert (found[name], found["of the level: tokens behind the step"]) == ("-", "-")


def test_nothing_to_correlate_with_is_a_dash() -> None:
    compute = np.linspace(80, 90, N)
    for table in (made(compute, np.zeros(N)), made(np.full(N, 90.0), np.arange(N, dtype=float))):
        found = facts(table, None)
        assert found["their correlation with compute"] == "-"
        assert "nan" not in " ".join(found.values())


def test_the_share_of_the_level_behind_a_step() -> None:
    compute = np.full(N, 80.0)
    compute[15:] = 90.0
    found = facts(made(compute, np.zeros(N)), ClockStep(15, 80, 90))
    assert found["of the level: tokens behind the step"] == "100%"


def test_a_step_is_found_among_spikes() -> None:
    rng = np.random.default_rng(0)
    compute = np.where(np.arange(100) < 60, 80.0, 95.0) + rng.normal(0, 1, 100)
    compute[::9] += 300
    step = find_step(compute)
    assert step is not None
    assert step.token == 60
    assert (step.before_ms, step.after_ms) == (pytest.approx(80, abs=1), pytest.approx(95, abs=1))
    down = find_step(compute[::-1])
    assert down is not None
    assert down.token == 40


@pytest.mark.parametrize("seed", range(5))
def test_noise_has_no_step(seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert find_step(80 * np.exp(rng.normal(0, 0.5, 100))) is None


def test_a_level_that_never_moves_or_a_run_too_short_for_two_sides_has_no_step() -> None:
    assert find_step(np.full(100, 80.0)) is None
    sides = np.repeat([80.0, 95.0], NEIGHBOURS)
    assert find_step(sides) == ClockStep(NEIGHBOURS, 80, 95)
    assert find_step(sides[1:]) is None
