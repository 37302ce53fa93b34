"""How many bytes an expert of each layer takes: of a model, of the trace, or one each."""

from __future__ import annotations

from simulator.errors import InputError
from simulator.model.load import load_model
from simulator.trace.core import TraceHeader


def expert_bytes(
    header: TraceHeader, model: str | None, precision: str | None
) -> tuple[tuple[int, ...], str]:
    """Return the sizes by MoE layer, and what they count: bytes or experts.

    Errors: InputError (a model of another shape, a precision without a model).
    """
    from simulator import data

    if model is None and precision is None and header.expert_bytes is not None:
        return header.expert_bytes, "bytes"
    name = model or (header.model if header.model in data.names("models") else None)
    if name is None:
        if precision is not None:
            raise InputError("--precision", "of which model?", "name it with --model")
        return (1,) * header.n_layers, "experts"
    spec = load_model(name)
    has = len(spec.moe_layers), spec.n_experts
    if has != (header.n_layers, header.n_experts):
        raise InputError(
            "--model",
            f"{name} has {has[0]} x {has[1]} experts",
            f"the trace {header.n_layers} x {header.n_experts}",
        )
    try:
        return spec.expert_bytes_by_layer(precision), "bytes"
    except ValueError as error:
        raise InputError("--precision", str(error), "see moesim list precisions") from None
