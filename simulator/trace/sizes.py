"""The sizes of a model, as far as the header of a trace knows them."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.errors import InputError
from simulator.trace.core import TraceHeader


@dataclass(frozen=True, slots=True)
class TraceModel:
    """A model known only by what a trace recorded: bytes per expert and dense block, by MoE layer.

    ``expert_tensor_bytes`` are those of an expert's tensors by layer, () where the trace does not tell.
    """

    name: str
    n_model_layers: int
    moe_layers: tuple[int, ...]
    n_experts: int
    top_k: int
    expert_bytes_by_layer: tuple[int, ...]
    dense_bytes_by_layer: tuple[int, ...]
    precision: str
    expert_tensor_bytes: tuple[tuple[int, ...], ...] = ()

    @property
    def all_expert_bytes(self) -> int:
        """Return the bytes of all experts of all layers."""
        return self.n_experts * sum(self.expert_bytes_by_layer)

    @property
    def non_expert_bytes(self) -> int:
        """Return the bytes of the recorded dense blocks; embedding and LM head are not among them."""
        return sum(self.dense_bytes_by_layer)


def trace_model(header: TraceHeader, where: str = "model: trace") -> TraceModel:
    """Return the sizes that the trace's header holds; InputError if it holds none."""
    if header.expert_bytes is None or header.dense_bytes is None:
        lacking = "expert_bytes" if header.expert_bytes is None else "dense_bytes"
        raise InputError(
            where, f"the trace has no {lacking} in its header", f"name a model instead ({header.model})"
        )
    return TraceModel(
        name=header.model,
        n_model_layers=header.n_model_layers,
        moe_layers=header.moe_layers,
        n_experts=header.n_experts,
        top_k=header.top_k,
        expert_bytes_by_layer=header.expert_bytes,
        dense_bytes_by_layer=header.dense_bytes,
        precision=header.precision or "recorded",
        expert_tensor_bytes=header.expert_tensor_bytes or (),
    )
