"""A synthetic trace, block by block of sequences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from simulator import __version__
from simulator.trace.core import DECODE, MISSING, PREFILL, Ids, Trace, TraceHeader
from simulator.trace.shapes import BY_LAYER
from simulator.trace.synth.draws import Draws
from simulator.trace.synth.parameters import Parameters, check, values_of_sequence
from simulator.trace.synth.routing import ROUTES, Routes, draw_domains, draw_tables, route

PREDICTIONS = 3
BLOCK_SEQUENCES = 64
BLOCK_VALUES = 1 << 24


def synthesise(parameters: Parameters, header: TraceHeader, fitted_to: str = "") -> Iterator[Trace]:
    """Yield a synthetic trace of the shape of ``header``, some sequences at a time.

    The header that it bears says for ever that it is synthetic, of which parameters, and what they
    were fitted to. Errors: InputError (a shape that cannot be, or too large).
    """
    check(parameters, header)
    tables = draw_tables(parameters, header)
    lengths = parameters.lengths()
    header = _own_header(parameters, header, fitted_to)
    size = values_of_sequence(parameters, header)
    width = max(1, min(BLOCK_SEQUENCES, BLOCK_VALUES // size))
    for block, first in enumerate(range(0, parameters.sequences, width)):
        rows = np.arange(first, min(first + width, parameters.sequences))
        domain = draw_domains(parameters, block, len(rows), int(lengths[rows].max()))
        over_all = parameters.concentration if header.weights == "softmax" else None
        draws = Draws(parameters.seed, ROUTES, block)
        routes = route(tables, domain, draws, header.top_k, over_all)
        trace = _trace(parameters, header, rows, routes)
        draws = Draws(parameters.seed, PREDICTIONS, block)
        ahead = [_predict(trace, d, a, draws) for d, a in enumerate(parameters.predictions, start=1)]
        yield replace(
            trace, predicted=tuple(ids for ids, _ in ahead), predicted_weights=tuple(w for _, w in ahead)
        )


def _trace(parameters: Parameters, header: TraceHeader, rows: npt.NDArray[np.intp], routes: Routes) -> Trace:
    """Return the tokens of sequences ``rows``, cut to their lengths, with gate weights."""
    position = np.arange(routes.experts.shape[1])
    there = position < parameters.lengths()[rows][:, None]
    decoded = position >= parameters.lengths("prefill")[rows][:, None]
    logits = routes.logits[there] * np.float64(parameters.concentration)
    if routes.log_sum is None:
        weights = np.exp(logits - logits[..., :1])
        weights /= weights.sum(axis=-1, keepdims=True)
    else:
        weights = np.exp(logits - routes.log_sum[there][..., None])
    return Trace(
        header=header,
        sequence=np.broadcast_to(rows[:, None], there.shape)[there].astype(np.int32),
        position=np.broadcast_to(position, there.shape)[there].astype(np.int32),
        phase=np.where(decoded, DECODE, PREFILL)[there].astype(np.uint8),
        experts=routes.experts[there],
        weights=weights.astype(np.float16),
        source="synthetic trace",
    )


def _predict(
    trace: Trace, distance: int, accuracy: float, draws: Draws
) -> tuple[Ids, npt.NDArray[np.float16]]:
    """Return what is predicted ``distance`` layers ahead, and the weights.

    Each slot is right with a chance of ``accuracy``. A wrong one names an expert that was not chosen, any
    with the same chance, and keeps the slot's weight.
    """
    n_tokens, n_layers, k = trace.experts.shape
    ids = np.full(trace.experts.shape, MISSING, dtype=np.int16)
    weights = np.zeros(ids.shape, dtype=np.float16)
    assert trace.weights is not None
    for layer in range(n_layers - distance):
        truth = trace.experts[:, layer + distance]
        order = draws.levels((n_tokens, trace.header.n_experts)).astype(np.int32)
        np.put_along_axis(order, truth.astype(np.intp), 1 << 16, axis=1)
        others = order.argsort(axis=1, kind="stable")[:, :k]
        right = draws.uniform((n_tokens, k)) < accuracy
        ids[:, layer] = np.where(right, truth, others)
        weights[:, layer] = trace.weights[:, layer + distance]
    return ids, weights


def _own_header(parameters: Parameters, header: TraceHeader, fitted_to: str) -> TraceHeader:
    """Return the header of a stand-in: the shape and sizes of the model, and nothing of a recording."""
    kind = header.weights if header.weights == "softmax" else "renormalised"
    return TraceHeader(
        **header.model_dump(
            include={
                "n_layers",
                "n_experts",
                "top_k",
                "n_model_layers",
                "precision",
                *BY_LAYER,
            }
        ),
        model=f"{header.model.removesuffix(SUFFIX)}{SUFFIX}",
        weights=kind,
        phase_source="chosen",
        recorder="moesim synth",
        recorder_version=__version__,
        synthetic=True,
        notes=_notes(parameters, fitted_to),
    )


SUFFIX = " (synthetic)"


def _notes(parameters: Parameters, fitted_to: str) -> str:
    """Say what was drawn, in a line."""
    shown = parameters.model_dump(mode="json", exclude={"model", "layers", "experts", "top_k"})
    words = ", ".join(f"{name} {_brief(value)}" for name, value in shown.items() if value != [])
    return f"Drawn, not recorded: {words}" + (f". Fitted to {fitted_to}" if fitted_to else "")


def _brief(value: object) -> str:
    """Write a value, and of a list its range."""
    if isinstance(value, list):
        return f"{min(value):.4g} to {max(value):.4g}" if len(set(value)) > 1 else f"{value[0]:.4g}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
