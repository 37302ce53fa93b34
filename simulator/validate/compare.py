"""Prediction beside measurement: accuracy by part of a run, and what the error of wall time is made of."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from simulator.validate.accuracy import Floats, accuracy
from simulator.validate.phone import Predicted
from simulator.validate.phone_fit import Fitted
from simulator.validate.recorded import Recorded

NEIGHBOURS = 15  # tokens whose median is the level of compute time around a token
QUANTITIES = {
    "stall_ms": "stall",
    "mgmt_ms": "management",
    "waiting_ms": "stall + management",
    "read_bytes": "bytes read",
    "wall_given_compute_ms": "wall, recorded compute",
    "wall_ms": "wall",
}
"""What is compared, by its column; the walls are sums, one with recorded and one with fitted compute."""
UNTOLD = {
    "line": ("read_bytes",),  # what it starts from
    "policy: recorded": ("stall_ms", "mgmt_ms"),  # evicts at no cost: management is in the stalls instead
}
"""What a predictor does not say."""


@dataclass(frozen=True, slots=True)
class Part:
    """Decoded tokens ``[start, stop)`` of a run; ``fitted`` if the parameters were fitted on them."""

    recorded: Recorded
    start: int
    stop: int
    fitted: bool = False

    @property
    def tokens(self) -> str:
        """Return the run's name and its tokens, counted from 1."""
        return f"{self.recorded.name} {self.start + 1}-{self.stop}"

    @property
    def title(self) -> str:
        """Return what tables and figures call it."""
        return f"{self.tokens} (fitted on)" if self.fitted else self.tokens


def line(recorded: Recorded, simulated: Predicted, fitted: Fitted) -> Predicted:
    """Return the straight lines through the recorded bytes; compute and bytes are the simulated ones."""
    (a, b), (c, d) = fitted.line["stall_ms"], fitted.line["mgmt_ms"]
    x = recorded.columns["read_bytes"]
    return Predicted(a + b * x, c + d * x, simulated.compute_ms, simulated.read_bytes)


def tokens(part: Part, predicted: Predicted) -> pd.DataFrame:
    """Return measured and predicted columns, one row a decoded token."""
    measured = {name: values[part.start : part.stop] for name, values in part.recorded.columns.items()}
    stall, mgmt, compute, read = (
        values[part.start : part.stop]
        for values in (predicted.stall_ms, predicted.mgmt_ms, predicted.compute_ms, predicted.read_bytes)
    )
    table: dict[str, Floats] = {
        "token": np.arange(part.start + 1, part.stop + 1, dtype=np.float64),
        "measured_compute_ms": measured["compute_ms"],
        "predicted_compute_ms": compute,
        "measured_majflt": measured["majflt"],
    }
    measured["waiting_ms"] = measured["stall_ms"] + measured["mgmt_ms"]
    for name, values in {
        "stall_ms": stall,
        "mgmt_ms": mgmt,
        "waiting_ms": stall + mgmt,
        "read_bytes": read,
        "wall_given_compute_ms": measured["compute_ms"] + stall + mgmt,
        "wall_ms": compute + stall + mgmt,
    }.items():
        table[f"measured_{name}"] = measured["wall_ms" if name.startswith("wall") else name]
        table[f"predicted_{name}"] = values
    return pd.DataFrame(table).astype({"token": int})


def accuracies(part: Part, predictions: dict[str, pd.DataFrame]) -> list[dict[str, object]]:
    """Return a row for each quantity and predictor (the keys), worst median error first."""
    rows: list[dict[str, object]] = []
    for predictor, table in predictions.items():
        for name, quantity in QUANTITIES.items():
            if name in UNTOLD.get(predictor, ()):
                continue
            measured = table[f"measured_{name}"].to_numpy(np.float64)
            found = accuracy(table[f"predicted_{name}"].to_numpy(np.float64), measured)
            rows.append({"part": part.title, "quantity": quantity, "predictor": predictor, **asdict(found)})
    return sorted(rows, key=lambda row: -float(str(row["median"])))


def error_shares(table: pd.DataFrame) -> dict[str, float]:
    """Return what the error of wall time consists of: mean absolute ms a token.

    Compute is parted into its level (the median of the tokens around, which moves with the clock) and
    its bursts above or below that level (page faults, other processes).
    """
    compute = table["measured_compute_ms"]
    level = compute.rolling(NEIGHBOURS, center=True, min_periods=1).median()
    parts = {
        "level of compute": level - table["predicted_compute_ms"],
        "bursts of compute": compute - level,
        "stall": table["measured_stall_ms"] - table["predicted_stall_ms"],
        "management": table["measured_mgmt_ms"] - table["predicted_mgmt_ms"],
    }
    return {name: float(values.abs().mean()) for name, values in parts.items()}
