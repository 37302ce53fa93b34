"""What a reader must know of runs before believing them: flags in words, warnings, assumptions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simulator.analysis.summary import knows_future

if TYPE_CHECKING:
    import pandas as pd

# A flag, the value that is a caveat, what that means, and the column that names whom it concerns.
FLAGS = (
    ("hardware_measured", "false", "a hardware profile in which not every number was measured", "hardware"),
    ("software_measured", "false", "software of which not every number was measured", "software"),
    ("software_measured", "", "no engine's software: bytes, flops and links only", "software"),
    ("trace_synthetic", "true", "a synthetic trace, its routing generated and not recorded", "trace"),
)
# Columns that are above 0 where the output is not the model's own, and what was done to experts there.
LOSSY = {
    "gate_mass_low": "at lower precision",
    "gate_mass_substituted": "substituted",
    "gate_mass_deferred": "combined in a later layer",
    "gate_mass_skipped": "skipped",
}


@dataclass(frozen=True, slots=True)
class Note:
    """A warning or an assumption, and how many runs of which systems it concerns."""

    kind: str
    text: str
    runs: int
    systems: list[str]


def notes(summary: pd.DataFrame) -> list[Note]:
    """Return every distinct warning, then every distinct assumption, those of most runs first."""
    found: list[Note] = []
    for kind, column in (("warning", "warnings"), ("assumed", "assumed")):
        concerned: dict[str, list[str]] = {}
        for system, cell in zip(summary["system"], summary.get(column, []), strict=False):
            lines = cell.split(" | ") if isinstance(cell, str) else []
            for line in dict.fromkeys(text.strip() for text in lines if text.strip()):
                concerned.setdefault(line, []).append(str(system))
        own = [Note(kind, text, len(by), list(dict.fromkeys(by))) for text, by in concerned.items()]
        found += sorted(own, key=lambda note: -note.runs)
    return found


def caveats(summary: pd.DataFrame, manifest: dict[str, Any]) -> list[str]:
    """Return what holds for these results as a whole, a sentence each."""
    said = ["All numbers are simulated, not measured."]
    n = len(summary)
    for column, bad, what, by in FLAGS:
        if column not in summary:
            said.append(f"The summary does not say {column.replace('_', ' ')}.")
            continue
        concerned = summary[summary[column].astype(str).str.lower() == bad]
        if len(concerned):
            names = ", ".join(dict.fromkeys(concerned[by]))
            said.append(f"{_runs(len(concerned), n, 'use')} {what} ({names}).")
    if own := int(knows_future(summary).sum()):
        bound = "nothing ranks them" if own < n else "no machine can reach these numbers"
        said.append(f"{_runs(own, n, 'know')} the future: {bound}.")
    lossy = [name for name in LOSSY if name in summary and summary[name].dtype.kind == "f"]
    changed = summary[lossy] > 0
    if own := int(changed.any(axis=1).sum()):
        how = ", ".join(LOSSY[name] for name in lossy if changed[name].any())
        said.append(f"{_runs(own, n, 'change')} the model's output: experts {how}.")
    if gaps := _gaps(summary):
        said.append(f"Of the sweep, runs are missing from these results: {', '.join(map(str, gaps))}.")
    if str(manifest.get("git_commit")).endswith("-dirty"):
        said.append("The code had changes that are in no commit.")
    return said


def _runs(own: int, n: int, do: str) -> str:
    who = "The run" if n == 1 else "All runs" if own == n else f"{own} of {n} runs"
    return f"{who} {do}{'s' if own == 1 else ''}"


def _gaps(summary: pd.DataFrame) -> list[int]:
    """Return the numbers, up to the last, that no run has."""
    there = {int(number) for number in summary["run"]}
    return sorted(set(range(min(max(there) + 1, 10 * len(summary)))) - there)
