"""What a model is made of, and every size that follows from it."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

from pydantic import BaseModel, ConfigDict, StrictBool, model_validator

from simulator.errors import InputError, did_you_mean
from simulator.model.attention import Attention, Count, NotNegative
from simulator.model.precision import (
    Precision,
    UniformPrecision,
    canonical,
    matrix_bytes,
    matrix_precisions,
    stored,
    tensor_bytes,
)


class ModelSpec(BaseModel):
    """A Mixture-of-Experts transformer.

    Which layers are MoE: ``moe_layer_list`` if given, else the layers i >= ``dense_first`` with
    (i + 1) divisible by ``moe_every``. ``expert_matrices`` is 3 (gate, up, down) or 2 (up, down) and
    holds for shared and dense FFNs too. ``fused_gate_up``: an expert's gate and up are stored as one
    tensor. ``shared_ffn`` is the width of all shared experts together, ``dense_ffn`` that of the layers
    that are not MoE. ``gate_weights`` says what the router makes of its logits: softmax over all experts,
    the same renormalised over the chosen k, or sigmoids. ``unverified`` names the fields that were
    recalled and not looked up, ``assumed`` says what no config does. Norms, biases and
    position tables are not counted.

    Where the weights lie in a file whose tensors are known, ``file_expert_tensors`` has the bytes of each
    tensor of an expert, by MoE layer, in the main precision; ``file_dense_bytes`` those of all else.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    source: str
    notes: str = ""
    unverified: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    n_model_layers: Count
    hidden: Count
    vocab: Count
    tied_embeddings: StrictBool
    attention: Attention
    n_experts: Count
    top_k: Count
    expert_ffn: Count
    expert_matrices: Literal[2, 3] = 3
    fused_gate_up: StrictBool = False
    shared_ffn: NotNegative = 0
    dense_ffn: NotNegative = 0
    dense_first: NotNegative = 0
    moe_every: Count = 1
    moe_layer_list: tuple[NotNegative, ...] | None = None
    gate_weights: Literal["softmax", "renormalised", "sigmoid"]
    router: Literal["after_attention", "before_attention"] = "after_attention"
    main_precision: Precision = "fp16"
    dense_precision: UniformPrecision = "fp16"
    file_expert_tensors: tuple[tuple[Count, ...], ...] | None = None
    file_dense_bytes: Count | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> ModelSpec:
        if self.top_k > self.n_experts:
            raise ValueError(
                f"top_k {self.top_k} is more than n_experts {self.n_experts}; at most all experts"
            )
        layers = self.moe_layers
        if not layers or list(layers) != sorted(set(layers)) or layers[-1] >= self.n_model_layers:
            raise ValueError(
                f"MoE layers {list(layers)}; one or more of 0 to {self.n_model_layers - 1}, ascending"
            )
        if len(layers) < self.n_model_layers and not self.dense_ffn:
            raise ValueError("dense_ffn is 0 but some layers are not MoE; give the width of their FFN")
        if self.file_expert_tensors is not None and len(self.file_expert_tensors) != len(layers):
            raise ValueError(
                f"file_expert_tensors of {len(self.file_expert_tensors)} layers; one a MoE layer"
            )
        if self.fused_gate_up and self.expert_matrices < 3:
            raise ValueError("fused_gate_up is true but expert_matrices is 2: there is no gate to fuse")
        for name in self.unverified:
            if name.split(".")[0] not in type(self).model_fields:
                raise ValueError(
                    f"unverified names no field: {name}; {did_you_mean(name, type(self).model_fields)}"
                )
        return self

    @cached_property
    def moe_layers(self) -> tuple[int, ...]:
        """Return the model layers that have experts, ascending."""
        if self.moe_layer_list is not None:
            return self.moe_layer_list
        every = range(self.dense_first, self.n_model_layers)
        return tuple(i for i in every if (i + 1) % self.moe_every == 0)

    # Experts.

    @property
    def expert_params(self) -> int:
        """Return the weights of one expert."""
        return self.expert_matrices * self.hidden * self.expert_ffn

    def expert_bytes_by_layer(self, precision: str | None = None) -> tuple[int, ...]:
        """Return the bytes of one expert of each MoE layer; in the main precision if none is named.

        Errors: those of ``expert_tensor_bytes``.
        """
        return tuple(map(sum, self.expert_tensor_bytes(precision)))

    def expert_tensor_bytes(self, precision: str | None = None) -> tuple[tuple[int, ...], ...]:
        """Return the bytes of each tensor of one expert of each MoE layer, down last.

        Each is rounded up to whole bytes. Errors: ValueError (unknown precision), InputError (one that
        cannot hold the expert's rows).
        """
        name = canonical(precision or self.main_precision)
        if self.file_expert_tensors is not None and name == self.main_precision:
            return self.file_expert_tensors
        try:
            return tuple(
                tuple(matrix_bytes(*shape, part) for shape, part in self._tensors(name, layer))
                for layer in self.moe_layers
            )
        except ValueError as error:
            raise InputError(f"model {self.name}", str(error), "choose another precision") from None

    def fallbacks(self, precision: str | None = None) -> tuple[tuple[str, str, int], ...]:
        """Return (asked for, stored instead, weights in a row) of the expert matrices that fall back."""
        name = canonical(precision or self.main_precision)
        every = {
            (part, stored(part, columns), columns)
            for layer in self.moe_layers
            for (_, columns), part in self._tensors(name, layer)
        }
        return tuple(sorted(one for one in every if one[0] != one[1]))

    def _tensors(self, precision: str, layer: int) -> list[tuple[tuple[int, int], str]]:
        """Return ((rows, columns), precision) of each tensor of an expert: gate and up, then down."""
        n_in, fused = self.expert_matrices - 1, self.fused_gate_up
        shapes = [(2 * self.expert_ffn, self.hidden)] if fused else [(self.expert_ffn, self.hidden)] * n_in
        shapes.append((self.hidden, self.expert_ffn))
        parts = matrix_precisions(precision, layer, self.n_model_layers, len(shapes))
        return list(zip(shapes, parts, strict=True))

    def expert_bytes(self, precision: str | None = None) -> int:
        """Return the bytes of the largest expert (all are equal unless the precision is a mix)."""
        return max(self.expert_bytes_by_layer(precision))

    def all_expert_bytes(self, precision: str | None = None) -> int:
        """Return the bytes of all experts of all layers."""
        return self.n_experts * sum(self.expert_bytes_by_layer(precision))

    # What is not an expert, by model layer.

    def attention_params(self, layer: int) -> int:
        """Return the attention weights of a model layer (the same in every layer)."""
        self._check(layer)
        return self.attention.params(self.hidden)

    def gate_params(self, layer: int) -> int:
        """Return the router's weights in a model layer; 0 in a dense one."""
        return self.hidden * self.n_experts if self._is_moe(layer) else 0

    def shared_params(self, layer: int) -> int:
        """Return the weights of a model layer's shared experts; 0 in a dense one."""
        return self.expert_matrices * self.hidden * self.shared_ffn if self._is_moe(layer) else 0

    def dense_ffn_params(self, layer: int) -> int:
        """Return the FFN weights of a dense model layer; 0 in a MoE layer."""
        return 0 if self._is_moe(layer) else self.expert_matrices * self.hidden * self.dense_ffn

    def kv_bytes_per_token(self, layer: int) -> int:
        """Return the bytes that one token takes in a model layer's KV cache."""
        self._check(layer)
        return self.attention.kv_bytes_per_token

    def attention_flops_per_context_token(self, layer: int) -> int:
        """Return the attention work of ONE query token against ONE cached token, scores and values."""
        self._check(layer)
        return self.attention.flops_per_context_token

    @property
    def embedding_params(self) -> int:
        """Return the weights of the input embedding (one row is read per token)."""
        return self.vocab * self.hidden

    @property
    def lm_head_params(self) -> int:
        """Return the weights that the LM head reads; the embedding's own where they are tied."""
        return self.vocab * self.hidden

    @cached_property
    def non_expert_params(self) -> int:
        """Return all weights but the routed experts'; a tied embedding counts once."""
        layers = range(self.n_model_layers)
        parts = (self.attention_params, self.gate_params, self.shared_params, self.dense_ffn_params)
        ends = self.embedding_params + (0 if self.tied_embeddings else self.lm_head_params)
        return ends + sum(part(layer) for layer in layers for part in parts)

    @property
    def total_params(self) -> int:
        """Return all weights."""
        return self.non_expert_params + len(self.moe_layers) * self.n_experts * self.expert_params

    @property
    def active_params(self) -> int:
        """Return the weights that one token uses: those of its experts, and all that are no experts'."""
        return self.non_expert_params + len(self.moe_layers) * self.top_k * self.expert_params

    def dense_bytes(self, n_weights: int) -> int:
        """Return the bytes of ``n_weights`` weights that are not an expert's; of a file, its mean."""
        if self.file_dense_bytes is not None:
            return -(-n_weights * self.file_dense_bytes // self.non_expert_params)
        return tensor_bytes(n_weights, self.dense_precision)

    def non_expert_bytes(self) -> int:
        """Return the bytes of all weights but the routed experts'."""
        return self.dense_bytes(self.non_expert_params)

    def _check(self, layer: int) -> None:
        if not 0 <= layer < self.n_model_layers:
            raise IndexError(f"model layer {layer} of {self.n_model_layers}")

    def _is_moe(self, layer: int) -> bool:
        self._check(layer)
        return layer in self._moe_set

    @cached_property
    def _moe_set(self) -> frozenset[int]:
        return frozenset(self.moe_layers)
