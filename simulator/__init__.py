"""A trace-driven discrete-event simulator of Mixture-of-Experts (MoE) expert offloading.

In a notebook: ``import simulator as moesim``. What it offers is loaded when it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator.interface.described import Experiment, load_experiment
    from simulator.interface.played import run, sweep
    from simulator.interface.results import Results, compare, read_results
    from simulator.interface.routing import locality, read_trace

__version__ = "0.2.0"

_FROM = {
    "Experiment": "described",
    "load_experiment": "described",
    "run": "played",
    "sweep": "played",
    "Results": "results",
    "compare": "results",
    "read_results": "results",
    "locality": "routing",
    "read_trace": "routing",
}
"""What the package offers, and the module of ``simulator.interface`` that has it."""

__all__ = [
    "Experiment",
    "Results",
    "compare",
    "load_experiment",
    "locality",
    "read_results",
    "read_trace",
    "run",
    "sweep",
]


def __getattr__(name: str) -> Any:
    """Load a name of the interface. Errors: AttributeError."""
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"simulator.interface.{_FROM[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_FROM})
