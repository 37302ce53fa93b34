"""The diagnosis of a run: it is played, watched, and played again with one change at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from policies.base import Eviction
from policies.registry import create
from simulator.assemble.library import Library
from simulator.assemble.run import Run
from simulator.engine.observe import observe
from simulator.errors import InputError
from simulator.experiment.sweep import RunSpec
from simulator.explain import layers, misses, prefetching, times
from simulator.explain.changes import Change, changes
from simulator.machine.software import IDEAL
from simulator.results.metrics import Value
from simulator.results.summary import RunResult
from simulator.runs.play import Ready, play, prepare

Told = Callable[[int, int], None]
"""Called with how many runs are played, and of how many."""


@dataclass(frozen=True, slots=True)
class WhatIf:
    """A change, and the speed with it: ``gain`` is over the run as it is. ``refused`` says why it cannot be.

    A ``bound`` knows the future, or is nothing that can be bought; it shows how much there is to win.
    """

    name: str
    tokens_per_second: float | None
    gain: float | None
    bound: bool
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why a run is as fast as it is; ``what_if`` has the largest gain first."""

    run: RunResult
    misses: misses.Misses
    times: times.Times
    prefetching: prefetching.Prefetching
    waits_ns: list[int]
    what_if: list[WhatIf]

    @property
    def sentences(self) -> list[str]:
        """Say in a few lines what holds the run back, and what would help most."""
        waits = layers.sentence(self.waits_ns)
        said = [self.times.sentence, self.misses.sentence, self.prefetching.sentence, waits]
        real = [one for one in self.what_if if not one.bound and one.gain is not None and one.gain >= 1.02]
        if real:
            best, speed = real[0].name, real[0].tokens_per_second
            return [*said, f"What helps most: {best}, {speed:.4g} tokens/s ({real[0].gain:.2f}x)."]
        return [*said, "None of the changes that were tried helps by 2 % or more."]


def explain(spec: RunSpec, told: Told | None = None) -> Diagnosis:
    """Return the diagnosis of a run. Errors: InputError (anything wrong with it)."""
    library = Library()
    ready = prepare(spec, library)
    result = play(ready, library)[0]
    spent = times.by_label(result.metrics)
    waiting = sum(spent.share(label) for label in spent.ms if label.startswith("stall"))
    tried = [*changes(ready.run, spent, library.software(IDEAL))]
    found = []
    for done, change in enumerate(tried, start=1):
        if told is not None:
            told(done, len(tried) + 1)
        found.append(_tried(change, ready, library, result.metrics))
    waits = _watched(ready.run)
    return Diagnosis(
        run=result,
        misses=misses.by_cause(result.metrics, ready.run.events(), preloaded=_preloads(ready.run)),
        times=spent,
        prefetching=prefetching.of(result.metrics, waiting),
        waits_ns=waits,
        what_if=sorted(found, key=lambda one: -(one.gain or 0)),
    )


def _tried(change: Change, ready: Ready, library: Library, before: Mapping[str, Value]) -> WhatIf:
    """Return what a run is like with a change; what cannot be is refused, with the reason."""
    try:
        changed = replace(ready, inputs=change.inputs, run=Run(change.inputs))
        speed = play(changed, library)[0].metrics["tokens_per_second"]
    except InputError as error:
        return WhatIf(change.name, None, None, change.bound, f"{error.what}; {error.hint}".removesuffix("; "))
    was = before["tokens_per_second"]
    numbers = isinstance(speed, float) and isinstance(was, float)
    return WhatIf(change.name, speed if numbers else None, speed / was if numbers else None, change.bound)  # type: ignore[arg-type, operator]  # both floats


def _watched(run: Run) -> list[int]:
    """Return how long a run waits for experts in each layer, in ns."""
    waits = layers.Waits([0] * len(run.layer_bytes))
    simulation = run.simulation(lambda _p, _record: None)
    observe(simulation.player, waits)
    simulation.run(run.workload)
    return waits.ns


def _preloads(run: Run) -> bool:
    """Return whether the GPU's cache is filled before the run."""
    policy = create("eviction", run.inputs.experiment.policies.eviction)
    return type(policy).preload is not Eviction.preload
