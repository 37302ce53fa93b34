"""Tiny randomly initialised models of seven families, and their routing by plain formulas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import transformers

library: Any = transformers
COMMON: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": None,
}
Array = Any
Route = Callable[[Any, Any, Array], tuple[Array, Array, Array]]


def softmax(logits: Array) -> Array:
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def top(values: Array, k: int) -> Array:
    return np.argsort(-values, axis=-1, kind="stable")[:, :k]


def matmul(router: Any, hidden: Array) -> Array:
    return hidden @ router.weight.detach().double().numpy().T


def renormalised(config: Any, router: Any, hidden: Array) -> tuple[Array, Array, Array]:
    gate, ids, weights = plain_softmax(config, router, hidden)
    return gate, ids, weights / weights.sum(axis=-1, keepdims=True)


def plain_softmax(config: Any, router: Any, hidden: Array) -> tuple[Array, Array, Array]:
    gate = softmax(matmul(router, hidden))
    ids = top(gate, config.num_experts_per_tok)
    return gate, ids, np.take_along_axis(gate, ids, axis=-1)


def gpt_oss(config: Any, router: Any, hidden: Array) -> tuple[Array, Array, Array]:
    logits = matmul(router, hidden) + router.bias.detach().double().numpy()
    ids = top(logits, config.num_experts_per_tok)
    return softmax(logits), ids, softmax(np.take_along_axis(logits, ids, axis=-1))


def deepseek(config: Any, router: Any, hidden: Array) -> tuple[Array, Array, Array]:
    """Sigmoid; the bias counts in the choice alone; the best groups by their two best experts."""
    gate = 1 / (1 + np.exp(-matmul(router, hidden)))
    choice = gate + router.e_score_correction_bias.double().numpy()
    size = gate.shape[1] // config.n_group
    ids = np.empty((len(gate), config.num_experts_per_tok), dtype=np.int64)
    for row, values in enumerate(choice):
        by_group = [sorted(values[g * size : (g + 1) * size])[-2:] for g in range(config.n_group)]
        best = np.argsort([-sum(two) for two in by_group])[: config.topk_group]
        allowed = [e for g in best for e in range(g * size, (g + 1) * size)]
        ids[row] = sorted(allowed, key=lambda e: -values[e])[: config.num_experts_per_tok]
    weights = np.take_along_axis(gate, ids, axis=-1)
    return gate, ids, config.routed_scaling_factor * weights / weights.sum(axis=-1, keepdims=True)


@dataclass(frozen=True)
class Family:
    config: Callable[[], Any]
    route: Route
    weights: str
    scoring: str
    moe_layers: tuple[int, ...]
    expert_elements: int


FAMILIES = {
    "mixtral": Family(
        lambda: library.MixtralConfig(
            **COMMON, intermediate_size=24, num_hidden_layers=5, num_local_experts=8, num_experts_per_tok=2
        ),
        renormalised,
        "renormalised",
        "softmax",
        (0, 1, 2, 3, 4),
        3 * 32 * 24,
    ),
    "qwen3_moe": Family(
        lambda: library.Qwen3MoeConfig(
            **COMMON,
            head_dim=8,
            intermediate_size=48,
            moe_intermediate_size=16,
            num_hidden_layers=5,
            num_experts=16,
            num_experts_per_tok=4,
            norm_topk_prob=True,
            mlp_only_layers=[1],
        ),
        renormalised,
        "renormalised",
        "softmax",
        (0, 2, 3, 4),
        3 * 32 * 16,
    ),
    "olmoe": Family(
        lambda: library.OlmoeConfig(
            **COMMON, intermediate_size=16, num_hidden_layers=5, num_experts=16, num_experts_per_tok=4
        ),
        plain_softmax,
        "softmax",
        "softmax",
        (0, 1, 2, 3, 4),
        3 * 32 * 16,
    ),
    "qwen2_moe": Family(
        lambda: library.Qwen2MoeConfig(
            **COMMON,
            intermediate_size=48,
            moe_intermediate_size=16,
            shared_expert_intermediate_size=24,
            num_hidden_layers=5,
            num_experts=16,
            num_experts_per_tok=4,
            norm_topk_prob=False,
            mlp_only_layers=[0],
        ),
        plain_softmax,
        "softmax",
        "softmax",
        (1, 2, 3, 4),
        3 * 32 * 16,
    ),
    "deepseek_v2": Family(
        lambda: library.DeepseekV2Config(
            **{**COMMON, "num_key_value_heads": 4},
            intermediate_size=48,
            moe_intermediate_size=16,
            num_hidden_layers=5,
            first_k_dense_replace=1,
            n_routed_experts=16,
            num_experts_per_tok=4,
            topk_method="greedy",
            n_shared_experts=1,
            routed_scaling_factor=1.0,
            kv_lora_rank=16,
            q_lora_rank=16,
            qk_rope_head_dim=8,
            qk_nope_head_dim=8,
            v_head_dim=8,
        ),
        plain_softmax,
        "softmax",
        "softmax",
        (1, 2, 3, 4),
        3 * 32 * 16,
    ),
    "deepseek_v3": Family(
        lambda: library.DeepseekV3Config(
            **{**COMMON, "num_key_value_heads": 4},
            intermediate_size=48,
            moe_intermediate_size=16,
            num_hidden_layers=6,
            first_k_dense_replace=1,
            n_routed_experts=16,
            num_experts_per_tok=4,
            n_group=4,
            topk_group=2,
            n_shared_experts=1,
            norm_topk_prob=True,
            routed_scaling_factor=2.5,
            kv_lora_rank=16,
            q_lora_rank=16,
            qk_rope_head_dim=8,
            qk_nope_head_dim=8,
            v_head_dim=8,
        ),
        deepseek,
        "sigmoid",
        "sigmoid",
        (1, 2, 3, 4, 5),
        3 * 32 * 16,
    ),
    # k is more than half of E here, so gate_top has fewer than 2k experts to name.
    "gpt_oss": Family(
        lambda: library.GptOssConfig(
            **COMMON,
            head_dim=8,
            intermediate_size=16,
            num_hidden_layers=5,
            num_local_experts=6,
            num_experts_per_tok=4,
            sliding_window=128,
        ),
        gpt_oss,
        "renormalised",
        "softmax",
        (0, 1, 2, 3, 4),
        3 * 32 * 16 + 3 * 16 - 16 + 32,
    ),
}


def build(family: str) -> Any:
    """Return a model in float32 whose routers are decided: their logits spread by about one."""
    torch.manual_seed(7)
    model = library.AutoModelForCausalLM.from_config(FAMILIES[family].config()).eval()
    with torch.no_grad():
        for router in routers(model):
            router.weight.normal_(std=0.3)
            if getattr(router, "bias", None) is not None:
                router.bias.normal_(std=0.5)
            if hasattr(router, "e_score_correction_bias"):
                router.e_score_correction_bias.normal_(std=0.3)
    return model


def routers(model: Any) -> list[Any]:
    """Return what holds the router's weight, layer by layer: its name is all that versions share."""
    blocks = [getattr(layer, "mlp", None) or layer.block_sparse_moe for layer in model.model.layers]
    found = [getattr(block, "gate", None) or getattr(block, "router", None) for block in blocks]
    return [router for router in found if router is not None]


def gate_inputs(model: Any, tokens: list[int]) -> tuple[list[Any], list[Array]]:
    """Return the routers, and what each is fed in one unpadded, uncached pass, [tokens, hidden]."""
    inputs: list[Array] = []
    handles = [
        router.register_forward_pre_hook(
            lambda _module, args: inputs.append(args[0].reshape(-1, 32).double().numpy())
        )
        for router in routers(model)
    ]
    with torch.inference_mode():
        model(input_ids=torch.tensor([tokens]), use_cache=False)
    for handle in handles:
        handle.remove()
    return routers(model), inputs
