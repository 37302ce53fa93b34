"""Prediction beside measurement: the tokens of a part of a run, and the accuracy of each quantity."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from simulator.validate.accuracy import Accuracy, Floats, accuracy
from simulator.validate.phone.baselines import UNTOLD
from simulator.validate.phone.recorded import PhoneRun
from simulator.validate.phone.replay import Predicted

QUANTITIES = {
    "stall_ms": "stall",
    "mgmt_ms": "management",
    "waiting_ms": "stall + management",
    "read_bytes": "bytes read",
    "wall_given_compute_ms": "wall, recorded compute",
    "wall_ms": "wall",
}
"""What is compared, by its column; the walls are sums, one with recorded and one with fitted compute."""


@dataclass(frozen=True, slots=True)
class TokenRange:
    """Decoded tokens ``[start, stop)`` of a run; ``fitted`` if the parameters were fitted on them."""

    recorded: PhoneRun
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


def tokens(part: TokenRange, predicted: Predicted) -> pd.DataFrame:
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


def accuracies(part: TokenRange, predictions: dict[str, pd.DataFrame]) -> list[dict[str, object]]:
    """Return a row for each quantity and predictor (the keys), worst median error first.

    Tokens that measured 0 of a quantity (nothing was read) have no relative error: the row is about the
    others, and ``zero_tokens`` says how many there are. NaN where all are 0.
    """
    rows: list[dict[str, object]] = []
    for predictor, table in predictions.items():
        for name, quantity in QUANTITIES.items():
            if name in UNTOLD.get(predictor, ()):
                continue
            told = table[table[f"measured_{name}"] > 0]
            measured, predicted = (
                told[f"{who}_{name}"].to_numpy(np.float64) for who in ("measured", "predicted")
            )
            found = accuracy(predicted, measured) if len(told) else Accuracy(*[np.nan] * 5)
            key = {"part": part.title, "quantity": quantity, "predictor": predictor}
            rows.append({**key, **asdict(found), "zero_tokens": len(table) - len(told)})
    return sorted(rows, key=lambda row: -np.nan_to_num(float(str(row["median"]))))
