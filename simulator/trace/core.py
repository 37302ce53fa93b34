"""The trace in memory: which experts each token used, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from simulator.text import printable

PREFILL, DECODE = 0, 1
MISSING = -1

Ids = npt.NDArray[np.int16]
Floats = npt.NDArray[np.floating]
Positive = Annotated[int, Field(gt=0)]


class TraceHeader(BaseModel):
    """What a trace says of itself; stored as JSON in the Parquet metadata.

    ``expert_bytes`` and ``dense_bytes`` have one entry a MoE layer, in the precision that was
    recorded. ``weights`` says how the gate weights are stored: over all experts (``softmax``),
    over the chosen k (``renormalised``), or unnormalised (``sigmoid``). ``expert_tensor_bytes``
    divides each of ``expert_bytes`` among the expert's tensors. ``assumed_weights`` names the trace whose
    mean weights stand in for those that were not recorded.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    model: str
    n_layers: Positive
    n_experts: Positive
    top_k: Positive
    moe_layers: tuple[int, ...]
    n_model_layers: Positive
    weights: Literal["softmax", "renormalised", "sigmoid", "none"] = "none"
    assumed_weights: str | None = None
    expert_bytes: tuple[Positive, ...] | None = None
    expert_tensor_bytes: tuple[tuple[Positive, ...], ...] | None = None
    dense_bytes: tuple[Positive, ...] | None = None
    precision: str | None = None
    phase_source: str = "recorded"
    recorder: str
    recorder_version: str | None = None
    prompt_source: str | None = None
    licence: str | None = None
    synthetic: bool = False
    notes: str = ""

    @model_validator(mode="before")
    @classmethod
    def _shown_as_text(cls, said: Any) -> Any:
        """Write control characters as escapes: names and notes are shown on terminals."""
        if not isinstance(said, dict):
            return said
        return {key: printable(value) if isinstance(value, str) else value for key, value in said.items()}


@dataclass(frozen=True, slots=True)
class Trace:
    """Recorded routing of T tokens through L MoE layers, k experts each.

    ``sequence``, ``position`` (int32) and ``phase`` (uint8: 0 prefill, 1 decode) are [T];
    tokens of one sequence are contiguous and in order of position. ``experts`` is int16
    [T, L, k], -1 where nothing was recorded (a row is missing whole or not at all);
    ``weights`` the gate weights beside it. ``predicted[d - 1]`` [T, L, k] holds what the gate
    of layer l + d said when fed the gate input of layer l (-1 past the last layer).
    ``gate_top`` [T, L, 2k] are the ids of the 2k best gate probabilities, ``gate_top_p`` those
    probabilities. ``recorded_resident`` (int8: 1 hit, 0 miss, -1 unknown) and
    ``recorded_bytes`` (int64) [T, L, k] are what the recording engine did.
    """

    header: TraceHeader
    sequence: npt.NDArray[np.int32]
    position: npt.NDArray[np.int32]
    phase: npt.NDArray[np.uint8]
    experts: Ids
    weights: Floats | None = None
    predicted: tuple[Ids, ...] = ()
    predicted_weights: tuple[Floats, ...] = ()
    gate_top: Ids | None = None
    gate_top_p: Floats | None = None
    token_id: npt.NDArray[np.int32] | None = None
    recorded_resident: npt.NDArray[np.int8] | None = None
    recorded_bytes: npt.NDArray[np.int64] | None = None
    source: str = field(default="", compare=False)

    @property
    def n_tokens(self) -> int:
        """Number of tokens T."""
        return int(self.experts.shape[0])

    def offers(self) -> frozenset[str]:
        """Return what policies may ask for: see ``policies.base`` for the words."""
        words = {"future"}
        if self.weights is not None:
            words.add("gate_weights")
        if self.predicted:
            words.add("predictions")
        if self.gate_top is not None:
            words.add("gate_top")
        if self.recorded_resident is not None:
            words.add("recorded_residency")
        if self.token_id is not None:
            words.add("token_ids")
        return frozenset(words)
