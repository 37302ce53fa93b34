"""Parameters and targets that make a synthetic trace like a recorded one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.errors import InputError
from simulator.trace.core import PREFILL, Trace, TraceHeader
from simulator.trace.synth.fit import Fit, fit
from simulator.trace.synth.generate import synthesise
from simulator.trace.synth.levers import Target
from simulator.trace.synth.parameters import Parameters
from simulator.trace.synth.statistics import Floats, measure

FITTED = ("top_share", "reuse_1", "reuse_4", "reuse_8", "reuse_16", "reuse_64", "next_layer", "weight_1")
BY_LAYER = ("top_share", "reuse_1", "reuse_4", "reuse_8", "reuse_16", "next_layer")
LEAST_TOKENS = 100


FIT_ROWS = 400_000


def fit_to_trace(trace: Trace, seed: int) -> tuple[Fit, dict[str, Floats]]:
    """Return the fit to a trace, at the lengths of its sequences, and the trace's statistics.

    Of a long trace, sequences spread evenly over it are fitted to, and both statistics are theirs.
    Errors: InputError (too short).
    """
    if trace.n_tokens < LEAST_TOKENS:
        hint = f"at least {LEAST_TOKENS}, to tell routing from chance"
        raise InputError(trace.source, f"{trace.n_tokens} tokens", hint)
    whole = {name: getattr(_start(trace, seed), name) for name in ("sequences", "prefill", "decode")}
    trace = _part(trace)
    real = measure(trace)
    targets = []
    for name in FITTED:
        values = real.get(name, np.array([np.nan]))
        if name in BY_LAYER:
            targets += [Target(name, float(v), i) for i, v in enumerate(values) if np.isfinite(v)]
        elif np.isfinite(values).any():
            targets.append(Target(name, float(np.nanmean(values))))
    header = trace.header
    found = fit(_start(trace, seed), header.n_layers, targets, lambda p: measure_drawn(p, header))
    return Fit(found.parameters.model_copy(update=whole), found.statistics), real


def measure_drawn(parameters: Parameters, header: TraceHeader) -> dict[str, Floats]:
    """Return the statistics of the trace that is drawn from ``parameters``."""
    return measure(joined(synthesise(parameters, header)))


def _part(trace: Trace) -> Trace:
    """Return every n-th sequence of a trace, whole, so that about ``FIT_ROWS`` layer rows are left."""
    every = -(-trace.n_tokens * trace.header.n_layers // FIT_ROWS)
    _, sequence = np.unique(trace.sequence, return_inverse=True)
    return _arrays([trace], sequence % every == 0)


def joined(chunks: Iterable[Trace]) -> Trace:
    """Return the chunks of one trace as a whole."""
    return _arrays(list(chunks))


def _arrays(parts: list[Trace], tokens: slice | npt.NDArray[np.bool_] = slice(None)) -> Trace:
    """Return what is measured of some tokens of the parts."""
    names = ("sequence", "position", "phase", "experts", "weights")
    columns = {name: [getattr(part, name) for part in parts] for name in names}
    arrays: dict[str, Any] = {n: np.concatenate(c)[tokens] for n, c in columns.items() if c[0] is not None}
    return Trace(header=parts[0].header, **arrays, source=parts[0].source)


def _start(trace: Trace, seed: int) -> Parameters:
    """Return parameters with the shape of a trace and the lengths of its sequences."""
    header = trace.header
    _, sequence = np.unique(trace.sequence, return_inverse=True)
    prompt = np.bincount(sequence, weights=trace.phase == PREFILL).astype(int)
    decode = np.bincount(sequence).astype(int) - prompt
    return Parameters(
        layers=header.n_layers,
        experts=header.n_experts,
        top_k=header.top_k,
        sequences=len(prompt),
        prefill=tuple(prompt.tolist()),
        decode=tuple(decode.tolist()),
        domains=int(np.clip(len(prompt), 2, 32)),
        seed=seed,
    )
