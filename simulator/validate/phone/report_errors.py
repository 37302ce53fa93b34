"""The part of the phone's page that says what the errors are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from simulator.validate.phone.compare import TokenRange
from simulator.validate.phone.errors import NEIGHBOURS, error_shares, facts, find_step

LIMITS = """
### What the errors are

The clock and page faults are not modelled; compute is bytes over one rate. *Level of compute* is how far the
median of the {n} tokens around each one lies from the predicted compute, *bursts* are how far a token is off
that level. Mean absolute ms a token, and the share of the five:
"""
APART = """
What tokens without major faults show of the level is no paging: the clock, or whatever else slows computing
for long. Faults make at most the bursts of the tokens that had some (their median burst, less that of the
others, is what a few faults usually take); the other bursts are other processes, slow cores or the clock,
which the record does not tell apart. Where no token is without faults (a dash), paging and clock cannot be
parted, neither in the level nor in the bursts. A step is where splitting a run leaves the least distance to
the medians of both sides ({n} tokens or more each); it counts if the middle halves of the two do not overlap.
"""


def errors(parts: Sequence[TokenRange], tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """Return the lines of the section; ``tables`` are the simulation's, by part."""
    return [LIMITS.format(n=NEIGHBOURS), *_shares(parts, tables), APART.format(n=NEIGHBOURS), *_steps(parts)]


def _shares(parts: Sequence[TokenRange], tables: Mapping[str, pd.DataFrame]) -> list[str]:
    shares = [error_shares(tables[part.title]) for part in parts]
    lines = ["| | " + " | ".join(part.title for part in parts) + " |", "|---|" + "---:|" * len(parts)]
    for name in shares[0]:
        cells = [f"{found[name]:.1f} ({found[name] / sum(found.values()):.0%})" for found in shares]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    told = [facts(tables[part.title], find_step(part.recorded.columns["compute_ms"])) for part in parts]
    return [*lines, *(f"| {name} | " + " | ".join(found[name] for found in told) + " |" for name in told[0])]


def _steps(parts: Sequence[TokenRange]) -> list[str]:
    """Say for each run whether the level of its compute has a step."""
    lines = []
    for run in {part.recorded.name: part.recorded for part in parts}.values():
        step = find_step(run.columns["compute_ms"])
        found = (
            f"a step after token {step.token}, {step.before_ms:.1f} → {step.after_ms:.1f} ms (medians)"
            if step
            else "no step"
        )
        lines.append(f"- {run.name}: {found}.")
    return lines
