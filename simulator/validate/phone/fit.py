"""The phone's parameters, fitted on the first decoded tokens of one run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from simulator.errors import InputError
from simulator.validate.accuracy import Floats
from simulator.validate.fit import REPLICAS, fit
from simulator.validate.phone.recorded import PhoneRun
from simulator.validate.phone.replay import LANES, Parameters, Phone, parameters_of

GB = 1e9
CONFIDENCE = (0.05, 0.95)


@dataclass(frozen=True, slots=True)
class Fitted:
    """The parameters, and the 90 % interval of each by its name; ``line`` are intercept and slope by column.

    ``mean_ms`` are the mean waits by column. ``lanes_limit``: all lanes together were not found slower
    than each alone, so ``total`` is only known to be no less than theirs.
    """

    parameters: Parameters
    interval: dict[str, tuple[float, float]]
    lanes_limit: bool
    line: dict[str, tuple[float, float]]
    mean_ms: dict[str, float]


def fit_phone(recorded: PhoneRun, sets: Sequence[str] = ()) -> Fitted:
    """Fit on all tokens of ``recorded``, one after another: compute, lane, management, then total and copy.

    Compute and the lane have a column of their own (``io_ms`` is the time of all lanes in reads, copies
    left out), whose median rate they take. Stalls alone could not tell a slower lane from a slower copy.
    """
    columns, phone = recorded.columns, Phone(recorded, sets)
    compute, computes = _median(phone.token_bytes / columns["compute_ms"] * 1e3)
    reading = (columns["read_bytes"] > 0) & (columns["io_ms"] > 0)
    if not reading.any():
        raise InputError(
            recorded.name, "no token to fit on read from flash", "a cache that does not hold all"
        )
    lane, lanes = _median(columns["read_bytes"][reading] / columns["io_ms"][reading] * 1e3)
    start = replace(parameters_of(sets), compute=compute, lane=lane, total=LANES * lane)
    # At 1 GB/s evicting a byte costs a nanosecond: management is then the bytes evicted.
    evicted_mb = phone.predict(replace(start, per_pass=0, evict=GB)).mgmt_ms
    positive = ((1e-9, 1e-9), (np.inf, np.inf))
    management = fit(lambda x: x[0] + x[1] * evicted_mb, columns["mgmt_ms"], (1.0, 0.1), positive)
    per_token, per_mb = management.values.tolist()
    known = replace(start, per_pass=per_token * 1e6, evict=GB / per_mb)

    def flash(x: Floats) -> Parameters:
        return replace(known, total=max(lane, float(LANES * lane * x[0])), copy=float(x[1]))

    stall = fit(
        lambda x: phone.predict(flash(x)).stall_ms,
        columns["stall_ms"],
        (0.95, start.copy),
        ((1 / LANES, lane / 10), (1.0, np.inf)),
    )
    replicas = {
        "compute": computes,
        "lane": lanes,
        "total": LANES * lane * stall.replicas[:, 0],
        "copy": stall.replicas[:, 1],
        "per_pass": management.replicas[:, 0] * 1e6,
        "evict": GB / management.replicas[:, 1],
    }
    waits = ("stall_ms", "mgmt_ms")
    return Fitted(
        flash(stall.values),
        interval={name: _interval(values) for name, values in replicas.items()},
        lanes_limit=bool(stall.held[0]),
        line={name: _line(columns["read_bytes"], columns[name]) for name in waits},
        mean_ms={name: float(columns[name].mean()) for name in waits},
    )


def _median(rates: Floats) -> tuple[float, Floats]:
    """Return the median, and bootstrap replicas of it."""
    drawn = np.random.default_rng(0).choice(rates, (REPLICAS, len(rates)))
    return float(np.median(rates)), np.asarray(np.median(drawn, axis=1))


def _interval(replicas: Floats) -> tuple[float, float]:
    low, high = np.quantile(replicas, CONFIDENCE)
    return float(low), float(high)


def _line(x: Floats, y: Floats) -> tuple[float, float]:
    """Return intercept and slope of the least-squares line."""
    slope, intercept = np.polyfit(x, y, 1)
    return float(intercept), float(slope)
