"""The header of a trace that no one recorded: a model's, or one of a shape that is given."""

from __future__ import annotations

from typing import Any

from simulator.trace.core import TraceHeader
from simulator.trace.synth.parameters import Parameters


def header_of(parameters: Parameters) -> TraceHeader:
    """Return the header for the model that ``parameters`` name, or for their layers, experts and k."""
    if parameters.model is None:
        n_layers = parameters.layers or 0
        name = f"{n_layers}x{parameters.experts}x{parameters.top_k}"
        shape: dict[str, Any] = {
            "model": name,
            "n_layers": n_layers,
            "n_experts": parameters.experts,
            "top_k": parameters.top_k,
            "moe_layers": tuple(range(n_layers)),
            "n_model_layers": n_layers,
        }
        return TraceHeader(**shape, weights="renormalised", recorder="")
    from simulator.model.load import load_model

    spec = load_model(parameters.model)
    return TraceHeader(
        model=spec.name,
        n_layers=len(spec.moe_layers),
        n_experts=spec.n_experts,
        top_k=spec.top_k,
        moe_layers=spec.moe_layers,
        n_model_layers=spec.n_model_layers,
        weights=spec.gate_weights,
        recorder="",
    )
