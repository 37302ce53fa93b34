"""What a reference validation ran, on what machine, and what was measured when, in words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from textwrap import fill

from simulator import __version__
from simulator.calibrate.marks import date_of, threads_of
from simulator.calibrate.system import this_system
from simulator.config.units import format_bytes
from simulator.machine.hardware import HardwareProfile
from simulator.trace.core import Trace
from simulator.validate.reference.gpu import POOL_BYTES
from simulator.validate.reference.setup import Setup


@dataclass(frozen=True, slots=True)
class Variant:
    """What ran, in words, and what a run should stay within: median error of a token, error of the total."""

    name: str
    engine: str
    median: float
    total: float


DRIVE = Variant(
    "a drive and a CPU",
    "reads {precision} experts of {expert} with O_DIRECT by {lanes} threads into an LRU cache and "
    "computes them with numpy on one thread",
    median=0.15,
    total=0.10,
)
GPU = Variant(
    "host memory and a GPU",
    "copies {precision} experts of {expert} from pinned memory{shared} by {lanes} threads, each on a stream "
    "of its own, into an LRU cache on {device}, and computes them there with PyTorch ({version})",
    median=0.10,
    total=0.05,
)
HEAD = "## Reference run: {name}, {mode}"
INTRO = (
    "Written by `{command}` of moesim {moesim} on {date}, on {processor}, {cores} cores ({kind}); every "
    "number is that command's. A small engine in Python {engine}, following {tokens} decoded tokens of "
    "{trace}; the simulator is given the same tokens and {machine}. Errors are those of wall time by token; "
    "the total's is signed. Without prefetch hits have to be identical; with it they depend on what landed "
    "in time, in both."
)
FRESH = (
    "a profile that was calibrated within the run: every second token the clock is stopped, and moves from "
    "random places and experts (beside them, and with nothing going on) are measured by threads and memory "
    "of the probe's own"
)
OVERHEAD = (
    "The engine's own bookkeeping is in no profile: before each run the same engine follows the same tokens "
    "with the same cache, and computes, but moves nothing. What dense work, experts and waits leave of a "
    "token's time there is fitted as a cost a token and a cost a miss (least squares), which the simulator "
    "gets. No time that was taken of the run itself goes into its prediction."
)
CHANGED = (
    "The probe was changed once after errors had been seen: at first experts were measured beside reads "
    "only, and came out 17 to 22 % too slow. What is below is no blind test of that change."
)


def variant_of(setup: Setup) -> Variant:
    """Return which of the two ran."""
    return DRIVE if setup.gpu is None else GPU


def intro(setup: Setup, trace: Trace) -> str:
    """Return heading and paragraphs."""
    variant, system = variant_of(setup), this_system()
    places = POOL_BYTES // setup.shape.expert_bytes
    engine = variant.engine.format(
        precision=setup.shape.precision,
        expert=format_bytes(setup.shape.expert_bytes),
        lanes=setup.lanes,
        shared=f" ({setup.n_experts} share {places} places)" if setup.n_experts > places else "",
        device=setup.gpu and setup.gpu.name,
        version=setup.gpu and setup.gpu.version,
    )
    what = INTRO.format(
        command=_command(setup),
        moesim=__version__,
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        processor=system.processor,
        cores=system.cores,
        kind=system.kind,
        engine=engine,
        tokens=trace.n_tokens,
        trace=trace.header.model,
        machine=FRESH if setup.profile is None else _given(setup.profile),
    )
    mode = "calibrated within the run" if setup.profile is None else _measured(setup.profile)
    changed = [CHANGED] if setup.profile is None else []
    paragraphs = [fill(text, 110) for text in (what, OVERHEAD, *changed)]
    return "\n\n".join([HEAD.format(name=variant.name, mode=mode), *paragraphs])


def _command(setup: Setup) -> str:
    """Return the command, as far as it decides what is compared with what."""
    options = ["--gpu"] if setup.gpu is not None else []
    options += [] if setup.profile is None else [f"--profile {setup.profile.name}"]
    options += [] if setup.repeats == 1 else [f"--repeats {setup.repeats}"]
    return " ".join(["moesim validate reference", *options])


def _measured(profile: HardwareProfile) -> str:
    date = date_of(profile)
    return f"profile {profile.name}, " + (f"measured on {date}" if date else "not by moesim calibrate")


def _given(profile: HardwareProfile) -> str:
    """Say which profile it was, and what is known of its threads."""
    n = threads_of(profile)
    threads = "it does not say by how many threads" if n is None else f"by {n} compute thread(s)"
    return f"the profile {profile.name} as it was, nothing measured meanwhile (experts on the CPU: {threads})"
