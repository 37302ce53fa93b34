"""What a search found: the best trial, and what it is worth on sequences that it was not chosen by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from simulator.config.paths import key_of, shown
from simulator.results.summary import RunResult
from simulator.tune.search import Trial
from simulator.tune.space import Values
from simulator.tune.subject import Subject


@dataclass(frozen=True, slots=True)
class Pair:
    """A metric of the experiment as it is (``before``) and at its best (``after``)."""

    before: float
    after: float

    def gain(self, *, maximise: bool) -> float:
        """Return how much better it became, as a share of what it was; above 0 is better."""
        better = self.after - self.before if maximise else self.before - self.after
        return better / abs(self.before) if self.before else better


@dataclass(frozen=True, slots=True)
class Findings:
    """Trials, the best of them, and the metric by part: held-out, training, all, each held-out one alone.

    ``alone`` has None for a sequence on which the metric has no value; ``runs`` are those of the best on
    all sequences.
    """

    subject: Subject
    trials: Sequence[Trial]
    best: Trial
    held_out: Pair
    training: Pair
    all: Pair
    alone: Sequence[tuple[str, int, Pair | None]]
    n_training: int
    runs: Sequence[RunResult]

    @property
    def maximise(self) -> bool:
        """Return whether more is better."""
        return self.subject.tune.maximise is not None

    @staticmethod
    def named(values: Values) -> Values:
        """Return settings with the names of files in place of their paths."""
        return dict(shown(values, key_of("sweep.grid")))

    def warnings(self) -> list[str]:
        """Return what a reader must know, the most important first."""
        held, trained = (pair.gain(maximise=self.maximise) for pair in (self.held_out, self.training))
        found = []
        if self.best.number == 0:
            found.append("nothing that was tried is better than the experiment as it is")
        elif held <= 0:
            found.append(
                "no gain on held-out sequences: the search fitted its own; keep the experiment as it is"
            )
        elif held < trained / 2:
            found.append("the gain on held-out sequences is less than half of that on training sequences")
        flags = [str(run.flags["warnings"]) for run in self.runs]
        found += dict.fromkeys(line for text in flags for line in text.split(" | ") if line)
        experiment = self.subject.specs[0].experiment
        if experiment.training_trace == experiment.trace:
            found.append("training_trace holds the held-out sequences too: policies know them beforehand")
        return found

    def summary(self) -> dict[str, Any]:
        """Return what was found as plain data."""
        parts = {"held_out": self.held_out, "training": self.training, "all": self.all}
        scores = {
            name: {"as_it_is": p.before, "best": p.after, "gain": p.gain(maximise=self.maximise)}
            for name, p in parts.items()
        }
        tune = self.subject.tune
        return {
            "experiment": self.subject.name,
            "metric": tune.metric,
            "aim": "maximise" if self.maximise else "minimise",
            "best": {"trial": self.best.number, "parameters": self.named(self.best.values)},
            **scores,
            "trials": len(self.trials),
            "refused": sum(bool(trial.refused) for trial in self.trials),
            "warnings": self.warnings(),
        }
