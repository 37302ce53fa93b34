"""What a synthetic trace is drawn from: its shape, and a few parameters that mean something."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from simulator.errors import InputError
from simulator.trace.core import TraceHeader
from simulator.trace.shapes import MOST_EXPERTS

MOST_LAYERS = 1 << 12
MOST_DOMAINS = 1 << 10
MOST_VALUES = 1 << 31
MOST_SEQUENCE_VALUES = 1 << 26
MOST_TABLE = 1 << 24

BY_LAYER = ("skew", "stickiness", "coupling", "domain_strength")

Share = Annotated[float, Field(ge=0, le=1, strict=True)]
Nats = Annotated[float, Field(ge=0, le=50, strict=True)]
Length = Annotated[int, Field(ge=0, le=1 << 24, strict=True)]


class Parameters(BaseModel):
    """Parameters of the generative model; ``simulator.trace.synth.routing`` says what is drawn from them.

    ``skew`` is the Zipf exponent of the experts' popularity. ``stickiness`` is what being the first choice
    for the previous token adds to an expert's logit (the r-th choice: 1/r of it), ``coupling`` what it
    adds that the expert before it in the previous layer was chosen; ``domain_strength`` is the standard
    deviation of what a domain adds. These are in nats; the four may be lists, one value a layer. There are
    ``domains``, and at each token a sequence draws its domain anew with probability ``drift``. Gate
    weights are the softmax of ``concentration`` times the logits. ``prefill`` and ``decode`` are
    lengths, the same for all sequences or one for each. ``predictions`` holds the accuracy of the
    recorded predictions 1, 2, ... layers ahead.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    model: str | None = None
    layers: Annotated[int, Field(gt=0, le=MOST_LAYERS, strict=True)] | None = None
    experts: Annotated[int, Field(gt=0, le=MOST_EXPERTS, strict=True)] | None = None
    top_k: Annotated[int, Field(gt=0, le=MOST_EXPERTS, strict=True)] | None = None
    sequences: Annotated[int, Field(gt=0, le=1 << 24, strict=True)] = 8
    prefill: Length | tuple[Length, ...] = 128
    decode: Length | tuple[Length, ...] = 256
    skew: Nats | tuple[Nats, ...] = 0.3
    stickiness: Nats | tuple[Nats, ...] = 0.8
    coupling: Nats | tuple[Nats, ...] = 2.0
    domains: Annotated[int, Field(gt=0, le=MOST_DOMAINS, strict=True)] = 8
    domain_strength: Nats | tuple[Nats, ...] = 0.6
    drift: Share = 0.002
    concentration: Annotated[float, Field(gt=0, le=100, strict=True)] = 0.8
    predictions: Annotated[tuple[Share, ...], Field(max_length=8)] = ()
    seed: Annotated[int, Field(ge=0, lt=1 << 63, strict=True)] = 0

    @model_validator(mode="after")
    def _has_one_shape(self) -> Parameters:
        shape = [value for value in (self.layers, self.experts, self.top_k) if value is not None]
        if bool(shape) == bool(self.model) or len(shape) not in (0, 3):
            raise ValueError("the shape is not clear; name a model, or give all of layers, experts, top_k")
        for name in ("prefill", "decode"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != self.sequences:
                raise ValueError(f"{len(value)} lengths in {name}; one, or one for each of {self.sequences}")
        if not self.lengths().all():
            raise ValueError("a sequence without tokens; prefill or decode is 1 or more")
        return self

    def lengths(self, name: str | None = None) -> npt.NDArray[np.int64]:
        """Return the tokens of each sequence [S], of one phase or of both."""
        if name is None:
            return self.lengths("prefill") + self.lengths("decode")
        return np.broadcast_to(np.array(getattr(self, name), dtype=np.int64), self.sequences)

    def by_layer(self, name: str, n_layers: int) -> npt.NDArray[np.float64]:
        """Return a parameter for each layer [L]. Errors: InputError (a list of another length)."""
        value: Any = np.array(getattr(self, name), dtype=np.float64)
        if value.ndim and len(value) != n_layers:
            raise InputError(name, f"{len(value)} values", f"one, or one for each of {n_layers} MoE layers")
        return np.broadcast_to(value, n_layers).copy()


def check(parameters: Parameters, header: TraceHeader) -> None:
    """Refuse what no such model can route, or no memory holds. Errors: InputError."""
    n_layers, n_experts, k = header.n_layers, header.n_experts, header.top_k
    for name in BY_LAYER:
        parameters.by_layer(name, n_layers)
    if k > n_experts:
        raise InputError("top_k", f"{k} of {n_experts} experts", "at most all of them")
    if parameters.predictions and 2 * k > n_experts:
        what = f"{n_experts - k} experts are left when {k} of {n_experts} are right"
        raise InputError("predictions", what, "a prediction must be able to be wrong: top_k at most half")
    lengths = parameters.lengths()
    for what, size, most in (
        ("all tokens", int(lengths.sum()) * n_layers * k, MOST_VALUES),
        ("one sequence", values_of_sequence(parameters, header), MOST_SEQUENCE_VALUES),
        ("the domains", parameters.domains * n_layers * n_experts, MOST_TABLE),
    ):
        if size > most:
            hint = f"at most {most:,}: fewer tokens, layers, experts or domains"
            raise InputError("synthetic trace", f"{size:,} values for {what}", hint)


def values_of_sequence(parameters: Parameters, header: TraceHeader) -> int:
    """Return the largest array that drawing the longest sequence takes."""
    n_layers, n_experts = header.n_layers, header.n_experts
    longest = int(parameters.lengths().max())
    return max(longest * max(n_layers * header.top_k, n_experts), n_layers * n_experts)
