"""A model spec from a Hugging Face config.json."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from simulator.config.yaml_file import validate_mapping
from simulator.errors import InputError, did_you_mean
from simulator.files import check_source
from simulator.model.spec import ModelSpec

Config = dict[str, Any]


def read_hf_config(path: Path) -> ModelSpec:
    """Return the spec; InputError for a missing file or key, or an unknown ``model_type``."""
    check_source(path)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(str(path), f"not JSON: {error}") from None
    if not isinstance(config, dict):
        raise InputError(str(path), "not a JSON object", "a config.json of a Hugging Face model")
    config = config.get("text_config", config)
    kind = config.get("model_type")
    if kind not in _READERS:
        raise InputError(f"{path}: model_type", f"unknown ({kind!r})", did_you_mean(str(kind), _READERS))
    try:
        fields = _READERS[kind](config)
    except KeyError as error:
        raise InputError(f"{path}: {error.args[0]}", "missing key", f"{kind} configs have it") from None
    name = path.resolve().parent.name if path.name == "config.json" else path.stem
    source = {"name": name, "title": name, "source": f"{path}, model_type {kind}"}
    return validate_mapping(source | fields, ModelSpec, str(path))


def _common(c: Config) -> Config:
    heads = c["num_attention_heads"]
    return {
        "n_model_layers": c["num_hidden_layers"],
        "hidden": c["hidden_size"],
        "vocab": c["vocab_size"],
        "tied_embeddings": c.get("tie_word_embeddings", False),
        "top_k": c["num_experts_per_tok"],
        "attention": {
            "kind": "gqa",
            "heads": heads,
            "kv_heads": c.get("num_key_value_heads") or heads,
            "head_dim": c.get("head_dim") or c["hidden_size"] // heads,
        },
    }


def _softmax(c: Config) -> str:
    return "renormalised" if c.get("norm_topk_prob", False) else "softmax"


def _mixtral(c: Config) -> Config:
    return _common(c) | {
        "n_experts": c["num_local_experts"],
        "expert_ffn": c["intermediate_size"],
        "gate_weights": "renormalised",
    }


def _phimoe(c: Config) -> Config:
    return _mixtral(c) | {"gate_weights": "softmax"}


def _gpt_oss(c: Config) -> Config:
    quantised = (c.get("quantization_config") or {}).get("quant_method") == "mxfp4"
    return _mixtral(c) | {"main_precision": "MXFP4" if quantised else "fp16"}


def _olmoe(c: Config) -> Config:
    return _common(c) | {
        "n_experts": c["num_experts"],
        "expert_ffn": c["intermediate_size"],
        "gate_weights": _softmax(c),
    }


def _qwen_moe(c: Config) -> Config:
    every, dense = c.get("decoder_sparse_step", 1), set(c.get("mlp_only_layers") or ())
    layers = [i for i in range(c["num_hidden_layers"]) if i not in dense and (i + 1) % every == 0]
    return _common(c) | {
        "n_experts": c["num_experts"],
        "expert_ffn": c["moe_intermediate_size"],
        "shared_ffn": c.get("shared_expert_intermediate_size") or 0,
        "dense_ffn": c["intermediate_size"],
        "moe_layer_list": layers,
        "gate_weights": _softmax(c),
    }


def _shared_and_dense_first(c: Config) -> Config:
    return _common(c) | {
        "n_experts": c["n_routed_experts"],
        "expert_ffn": c["moe_intermediate_size"],
        "shared_ffn": (c.get("n_shared_experts") or 0) * c["moe_intermediate_size"],
        "dense_ffn": c["intermediate_size"],
        "dense_first": c["first_k_dense_replace"],
    }


def _glm4_moe(c: Config) -> Config:
    return _shared_and_dense_first(c) | {"gate_weights": "sigmoid"}


def _deepseek(c: Config) -> Config:
    first, every = c["first_k_dense_replace"], c.get("moe_layer_freq", 1)
    latent = {
        "kind": "mla",
        "heads": c["num_attention_heads"],
        "kv_lora": c["kv_lora_rank"],
        "q_lora": c.get("q_lora_rank"),
        "qk_rope": c["qk_rope_head_dim"],
        "qk_nope": c["qk_nope_head_dim"],
        "v_head": c["v_head_dim"],
    }
    return _shared_and_dense_first(c) | {
        "attention": latent,
        "moe_layer_list": [i for i in range(c["num_hidden_layers"]) if i >= first and i % every == 0],
        "gate_weights": "sigmoid" if c.get("scoring_func") == "sigmoid" else _softmax(c),
    }


def _deepseek_v3(c: Config) -> Config:
    return _deepseek(c) | {"gate_weights": "sigmoid"}


def _deepseek_moe(c: Config) -> Config:
    return _shared_and_dense_first(c) | {"gate_weights": _softmax(c)}


def _switch(c: Config) -> Config:
    encoder, decoder = c["num_layers"], c.get("num_decoder_layers") or c["num_layers"]
    layers = _switch_layers(encoder, c["num_sparse_encoder_layers"], 0)
    layers += _switch_layers(decoder, c["num_sparse_decoder_layers"], encoder)
    return {
        "n_model_layers": encoder + decoder,
        "hidden": c["d_model"],
        "vocab": c["vocab_size"],
        "tied_embeddings": c.get("tie_word_embeddings", True),
        "attention": {
            "heads": c["num_heads"],
            "kv_heads": c["num_heads"],
            "head_dim": c["d_kv"],
            "kind": "gqa",
        },
        "n_experts": c["num_experts"],
        "top_k": 1,
        "expert_ffn": c["d_ff"],
        "expert_matrices": 2,
        "dense_ffn": c["d_ff"],
        "moe_layer_list": layers,
        "gate_weights": "softmax",
        "notes": "encoder layers first, then decoder layers; cross-attention is not counted",
    }


def _switch_layers(n_layers: int, n_sparse: int, first: int) -> list[int]:
    step = n_layers // n_sparse if n_sparse else n_layers + 1
    return [first + i for i in range(n_layers) if (i % step == 1 or step == 1)]


_READERS: dict[str, Callable[[Config], Config]] = {
    "mixtral": _mixtral,
    "phimoe": _phimoe,
    "gpt_oss": _gpt_oss,
    "olmoe": _olmoe,
    "qwen2_moe": _qwen_moe,
    "qwen3_moe": _qwen_moe,
    "deepseek_v2": _deepseek,
    "deepseek_v3": _deepseek_v3,
    "kimi_k2": _deepseek_v3,
    "deepseek": _deepseek_moe,
    "glm4_moe": _glm4_moe,
    "switch_transformers": _switch,
}
