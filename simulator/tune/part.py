"""Parts of a trace: some sequences are searched on, the others tell whether what was found holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from simulator.assemble.library import Library
from simulator.assemble.run import Inputs, Run
from simulator.experiment.sweep import RunSpec
from simulator.trace.core import Trace
from simulator.trace.parts import take

Choose = Callable[[int], Sequence[int]]
"""Returns the places of the chosen ones among n sequences."""


def split(n: int, held_out: float) -> tuple[list[int], list[int]]:
    """Return the places of training and of held-out sequences among n >= 2, the latter evenly spread.

    Each has one at least; together they are all.
    """
    n_held = min(max(round(Fraction(held_out) * n), 1), n - 1)
    held = [(2 * i + 1) * n // (2 * n_held) for i in range(n_held)]
    return sorted(set(range(n)) - set(held)), held


class PartialLibrary(Library):
    """A library whose replayed traces have only some of their sequences; the rest is the ``whole`` one's.

    Of what a run replays (``workload.max_sequences``), those that ``choose`` says; where these are all, the
    run is that of ``moesim run``. What policies learn from beforehand stays whole. Belady's bound is left
    out: it costs more than a run, and no search looks at it.
    """

    def __init__(self, whole: Library, choose: Choose) -> None:
        super().__init__()
        self.trace, self.model, self.hardware, self.digest = (
            whole.trace,
            whole.model,
            whole.hardware,
            whole.digest,
        )
        self.choose = choose
        self.parts: dict[tuple[str, float | None, int | None], Trace] = {}

    def inputs(self, spec: RunSpec) -> tuple[Inputs, Path]:
        """Return what a run needs, with its part of the trace."""
        inputs, path = super().inputs(spec)
        experiment = spec.experiment
        chosen = self.sequences(spec)
        if chosen == sequences(self, spec):
            return inputs, path
        key = experiment.trace, experiment.training_share, experiment.workload.max_sequences
        if key not in self.parts:
            self.parts[key] = take(inputs.trace, np.isin(inputs.trace.sequence, chosen))
        return replace(inputs, trace=self.parts[key]), path

    def sequences(self, spec: RunSpec) -> list[int]:
        """Return the numbers of the sequences in a run's part, in file order."""
        replayed = sequences(self, spec)
        return [replayed[place] for place in self.choose(len(replayed))]

    def belady(self, spec: RunSpec, run: Run) -> tuple[float | None, str]:
        """Return no bound."""
        return None, "none: not worked out for a search"


def sequences(library: Library, spec: RunSpec) -> list[int]:
    """Return the numbers of the sequences that a run replays, in file order."""
    trace = library.traces(spec)[0]
    found: list[int] = list(dict.fromkeys(trace.sequence.tolist()))
    return found[: spec.experiment.workload.max_sequences]
