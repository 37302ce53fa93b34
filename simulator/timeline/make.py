"""Making a timeline: one run of an experiment, some of its passes, one file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO

from simulator import __version__
from simulator.assemble.library import Library
from simulator.config.yaml_file import find_named, read_yaml
from simulator.engine.observe import observe
from simulator.errors import InputError
from simulator.experiment.sweep import RunSpec, expand
from simulator.experiment.systems import system_label
from simulator.files import check_target, unwritable
from simulator.runs.play import Ready, prepare
from simulator.timeline.recorder import Recorder
from simulator.timeline.trace_events import TraceEvents
from simulator.whole import whole

RANGE = re.compile(r"(-?[0-9]{1,10})?:(-?[0-9]{1,10})?")
FIRST = 20
"""How many passes are shown where nothing is said."""


@dataclass(frozen=True, slots=True)
class ChosenRun:
    """A run of an experiment, one of ``n_runs``."""

    spec: RunSpec
    n_runs: int


@dataclass(frozen=True, slots=True)
class Written:
    """What a timeline shows: passes from ``start`` up to ``stop`` of ``n_passes``, ``ns`` in all."""

    start: int
    stop: int
    n_passes: int
    ns: int
    n_events: int


def choose_run(experiment: str, sets: Sequence[str], number: int) -> ChosenRun:
    """Return a run of an experiment by its number. Errors: InputError (anything wrong with the file too)."""
    specs = expand(read_yaml(find_named("experiments", experiment)), sets)
    if number >= len(specs):
        allowed = f"0 to {len(specs) - 1}" if len(specs) > 1 else "there is only run 0"
        raise InputError(f"--run {number}", f"{specs[0].where.partition(' (')[0]} has no such run", allowed)
    return ChosenRun(specs[number], len(specs))


def write_timeline(spec: RunSpec, tokens: str | None, out: Path, *, force: bool = False) -> Written:
    """Play a run up to the end of the passes ``tokens``, and write what happened in these to a file.

    ``tokens`` is ``start:end``, over the passes of the run; None: the first 20. Errors: InputError, and
    then nothing was written.
    """
    check_target(out, force=force)
    ready = prepare(spec, Library())
    run = ready.run
    n_passes = len(run.workload)
    start, stop = (0, min(FIRST, n_passes)) if tokens is None else passes_of(tokens, n_passes)
    with _text_file(out) as file:
        events = TraceEvents(file, _about(ready, start, stop))
        simulation = run.simulation(lambda _p, _record: None)
        passes = iter(run.workload)
        begin = simulation.run(islice(passes, start))
        recorder = Recorder(events, run, simulation.player)
        observe(simulation.player, recorder)
        end = simulation.run(islice(passes, stop - start))
        recorder.close()
        events.close()
    return Written(start, stop, n_passes, end - begin, events.n_events)


def passes_of(text: str, n_passes: int) -> tuple[int, int]:
    """Return the range that ``start:end`` means among ``n_passes``, as in Python; beyond them it is refused.

    Either may be left out, or count from the end: ``-2:`` is the last two.
    """
    match = RANGE.fullmatch(text.strip())
    if not match:
        raise InputError("--tokens", f"'{text[:40]}'", "allowed: start:end, such as 0:20 or -20:")
    start, stop = int(match[1] or 0), int(match[2] or n_passes)
    if max(start, stop, -start, -stop) > n_passes:
        raise InputError(
            "--tokens", f"'{text.strip()}' goes beyond the run", f"the run has {n_passes} passes"
        )
    start, stop = (place + n_passes if place < 0 else place for place in (start, stop))
    if stop <= start:
        raise InputError("--tokens", f"'{text.strip()}' is empty", "start:end, and the end is not in it")
    return start, stop


def _about(ready: Ready, start: int, stop: int) -> dict[str, str | int | bool]:
    """Return what a reader of the file must know of the run."""
    spec, inputs = ready.spec, ready.inputs
    return {
        "moesim_version": __version__,
        "experiment": spec.experiment.name,
        "run": spec.index,
        "swept": ", ".join(f"{key}={value}" for key, value in spec.swept.items()),
        "seed": spec.seed,
        "system": system_label(spec.experiment),
        "model": inputs.model.name,
        "hardware": inputs.hardware.name,
        "software": inputs.software.name,
        "trace": ready.trace_path.stem,
        "trace_synthetic": inputs.trace.header.synthetic,
        "passes": f"{start}:{stop}",
    }


@contextmanager
def _text_file(out: Path) -> Iterator[TextIO]:
    """Give a text file that takes the place of ``out`` when the block ends well. Errors: InputError."""
    try:
        with whole(out) as aside, aside.open("w", encoding="utf-8", newline="\n") as file:
            yield file
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise unwritable(out, error, "name another file with --out") from error
