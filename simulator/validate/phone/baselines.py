"""What stands beside the simulation: predictors that know less, and one that is told more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from simulator.validate.phone.fit import Fitted
from simulator.validate.phone.recorded import PhoneRun
from simulator.validate.phone.replay import LANES, Parameters, Phone, Predicted

SIMULATED = "simulated"
MEANING = {
    "line": "a straight line through the recorded bytes, fitted on the same tokens",
    "constant": "the mean wait of the tokens fitted on, for every token; *wall, recorded compute* has "
    "recorded compute on both sides, and this shows how easy that makes it",
    "no overlap": "the same parameters without the simulation's overlap: bytes · (1 / rate of all lanes + "
    "1 / (lanes · copy rate)), and the simulated management",
    "compute as recorded": "the simulation with the recorded median of that run's compute in place of the "
    "rate: dense blocks and experts slower alike",
    "policy: recorded": "the simulation that replays recorded hits and misses (it evicts at no cost, so "
    "that it tells stall and management only together)",
}
"""Each predictor that can stand beside the simulation, and what it is."""
UNTOLD = {
    "line": ("read_bytes",),  # what it starts from
    "constant": ("read_bytes",),
    "no overlap": ("mgmt_ms", "read_bytes", "wall_given_compute_ms", "wall_ms"),
    "compute as recorded": ("read_bytes", "wall_ms"),
    "policy: recorded": ("stall_ms", "mgmt_ms"),
}
"""The columns that a predictor does not say."""


def predictions(
    run: PhoneRun, parameters: Parameters, fitted: Fitted | None, sets: Sequence[str] = ()
) -> dict[str, Predicted]:
    """Return what each predictor says of the run; ``line`` and ``constant`` only after a fit."""
    phone, told = Phone(run, sets), Phone(run, [*sets, "policies.eviction=recorded"])
    simulated = phone.predict(parameters)
    median_rate = phone.token_bytes / float(np.median(run.columns["compute_ms"])) * 1e3
    found = {
        SIMULATED: simulated,
        "no overlap": no_overlap(simulated, parameters),
        "compute as recorded": phone.predict(replace(parameters, compute=median_rate)),
        "policy: recorded": told.predict(parameters),
    }
    if fitted:
        found |= {"line": line(run, simulated, fitted), "constant": constant(simulated, fitted)}
    return {name: found[name] for name in (SIMULATED, *MEANING) if name in found}


def line(run: PhoneRun, simulated: Predicted, fitted: Fitted) -> Predicted:
    """Return the straight lines through the recorded bytes; compute and bytes are the simulated ones."""
    (a, b), (c, d) = fitted.line["stall_ms"], fitted.line["mgmt_ms"]
    x = run.columns["read_bytes"]
    return replace(simulated, stall_ms=a + b * x, mgmt_ms=c + d * x)


def constant(simulated: Predicted, fitted: Fitted) -> Predicted:
    """Return the mean waits of the tokens fitted on, one for all tokens."""
    n = len(simulated.stall_ms)
    stall, mgmt = (np.full(n, fitted.mean_ms[name]) for name in ("stall_ms", "mgmt_ms"))
    return replace(simulated, stall_ms=stall, mgmt_ms=mgmt)


def no_overlap(simulated: Predicted, p: Parameters) -> Predicted:
    """Return stalls in which all lanes read and copy all the time and nothing is computed meanwhile."""
    ms_per_byte = 1e3 / min(p.total, LANES * p.lane) + 1e3 / (LANES * p.copy)
    return replace(simulated, stall_ms=simulated.read_bytes * ms_per_byte)
