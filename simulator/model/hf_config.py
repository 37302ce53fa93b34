"""A model spec from a Hugging Face config.json."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from simulator.config.yaml_file import validate_mapping
from simulator.errors import InputError
from simulator.files import check_source
from simulator.model.hf_any import check_moe, read_any
from simulator.model.hf_keys import WRAPPED, Keys
from simulator.model.hf_quantisation import precisions
from simulator.model.spec import ModelSpec

Fields = dict[str, Any]
MOST_LAYERS = 10_000
SIZES_DIFFER = 0.05
"""From this share on, the size of the files of the weights is another than what is counted."""
TEXT = ("text_config", "llm_config", "language_config", "language_model_config", "thinker_config")
"""Sections in which a composite model keeps the config of its language model."""
FULL_ATTENTION = {"full_attention", "sliding_attention", "chunked_attention"}
"""Kinds of layers whose weights are those of plain attention; a window's smaller cache is not modelled."""


def read_hf_config(path: Path) -> ModelSpec:
    """Return the spec; InputError for a missing file, a wrong key, or one without experts or widths."""
    check_source(path)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(str(path), f"not JSON: {error}") from None
    if not isinstance(config, dict):
        raise InputError(str(path), "not a JSON object", "a config.json of a Hugging Face model")
    keys = _text_of(Keys(str(path), config))
    read = _READERS.get(keys.kind)
    fields = read(keys) if read else read_any(keys, MOST_LAYERS)
    fields |= precisions(keys, packed_experts=keys.kind == "gpt_oss")
    name = path.resolve().parent.name if path.name == "config.json" else path.stem
    fields["assumed"] = (*fields.get("assumed", ()), *_size_of_files(path, fields, name))
    source = {"name": name, "title": name, "source": f"{path}, model_type {keys.kind}"}
    return validate_mapping(source | fields, ModelSpec, str(path))


def _size_of_files(path: Path, fields: Fields, name: str) -> list[str]:
    """Return what to say where the index of the weights beside a config has another size than is counted."""
    index = path.with_name("model.safetensors.index.json")
    try:
        stated = json.loads(index.read_text(encoding="utf-8"))["metadata"]["total_size"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return []
    if not isinstance(stated, (int, float)) or stated <= 0:
        return []
    model = validate_mapping({"name": name, "title": name, "source": name} | fields, ModelSpec, str(path))
    counted = model.non_expert_bytes() + model.all_expert_bytes()
    if abs(counted / stated - 1) <= SIZES_DIFFER:
        return []
    return [f"weights are {counted / 1e9:.1f} GB as counted, and {stated / 1e9:.1f} GB in {index.name}"]


def _text_of(config: Keys) -> Keys:
    """Return the keys of the language model: those of ``text_config``, where a wrapper has one."""
    text = next((inner for name in TEXT if (inner := config.inner(name)) is not None), None)
    data = dict(config.data if text is None else text.data)
    if text is not None:
        data = {key: config.data[key] for key in WRAPPED if key in config.data} | data
    kind = Keys(config.where, data).word("model_type")
    slip = str(kind).lower().replace("-", "_")
    if kind not in _READERS and slip in _READERS:
        raise InputError(f"{config.where}: model_type", f"unknown ({kind!r})", f"did you mean '{slip}'?")
    keys = Keys(config.where, data, kind or "")
    if kind not in _READERS:
        check_moe(keys)
        return keys
    other = sorted(set(keys.listed("layer_types", str)) - FULL_ATTENTION)
    if other:
        raise InputError(
            f"{config.where}: layer_types", f"{other[0]} layers are not read", "write the model as YAML"
        )
    if data.get("kv_lora_rank") is not None and _READERS[kind] not in (_deepseek, _deepseek_v3):
        raise InputError(
            f"{config.where}: kv_lora_rank",
            f"says latent attention, but {kind} is read as plain attention",
            "name the right model_type, or write the model as YAML",
        )
    return keys


def _common(c: Keys) -> Fields:
    heads, hidden = c.count("num_attention_heads"), c.count("hidden_size")
    return {
        "n_model_layers": c.count("num_hidden_layers", most=MOST_LAYERS),
        "hidden": hidden,
        "vocab": c.count("vocab_size"),
        "tied_embeddings": c.flag("tie_word_embeddings", default=False),
        "top_k": c.count("num_experts_per_tok"),
        "attention": {
            "kind": "gqa",
            "heads": heads,
            "kv_heads": c.count("num_key_value_heads", heads),
            "head_dim": c.count("head_dim", max(1, hidden // heads)),
        },
    }


def _softmax(c: Keys) -> str:
    return "renormalised" if c.flag("norm_topk_prob", default=False) else "softmax"


def _mixtral(c: Keys) -> Fields:
    return _common(c) | {
        "n_experts": c.count("num_local_experts"),
        "expert_ffn": c.count("intermediate_size"),
        "gate_weights": "renormalised",
    }


def _phimoe(c: Keys) -> Fields:
    return _mixtral(c) | {"gate_weights": "softmax"}


def _olmoe(c: Keys) -> Fields:
    return _common(c) | {
        "n_experts": c.count("num_experts"),
        "expert_ffn": c.count("intermediate_size"),
        "gate_weights": _softmax(c),
    }


def _qwen_moe(c: Keys) -> Fields:
    every, dense = c.count("decoder_sparse_step", 1), set(c.listed("mlp_only_layers", int))
    n_layers = c.count("num_hidden_layers", most=MOST_LAYERS)
    layers = [i for i in range(n_layers) if i not in dense and (i + 1) % every == 0]
    return _common(c) | {
        "n_experts": c.count("num_experts"),
        "expert_ffn": c.count("moe_intermediate_size"),
        "shared_ffn": c.count("shared_expert_intermediate_size", 0, least=0),
        "dense_ffn": c.count("intermediate_size"),
        "moe_layer_list": layers,
        "gate_weights": _softmax(c),
    }


def _shared_and_dense_first(c: Keys) -> Fields:
    return _common(c) | {
        "n_experts": c.count("n_routed_experts"),
        "expert_ffn": c.count("moe_intermediate_size"),
        "shared_ffn": c.count("n_shared_experts", 0, least=0) * c.count("moe_intermediate_size"),
        "dense_ffn": c.count("intermediate_size"),
        "dense_first": c.count("first_k_dense_replace", least=0),
    }


def _glm4_moe(c: Keys) -> Fields:
    return _shared_and_dense_first(c) | {"gate_weights": "sigmoid"}


def _deepseek(c: Keys) -> Fields:
    first, every = c.count("first_k_dense_replace", least=0), c.count("moe_layer_freq", 1)
    n_layers = c.count("num_hidden_layers", most=MOST_LAYERS)
    latent = {
        "kind": "mla",
        "heads": c.count("num_attention_heads"),
        "kv_lora": c.count("kv_lora_rank"),
        "q_lora": c.maybe_count("q_lora_rank"),
        "qk_rope": c.count("qk_rope_head_dim"),
        "qk_nope": c.count("qk_nope_head_dim"),
        "v_head": c.count("v_head_dim"),
    }
    return _shared_and_dense_first(c) | {
        "attention": latent,
        "moe_layer_list": [i for i in range(n_layers) if i >= first and i % every == 0],
        "gate_weights": "sigmoid" if c.word("scoring_func") == "sigmoid" else _softmax(c),
    }


def _deepseek_v3(c: Keys) -> Fields:
    return _deepseek(c) | {"gate_weights": "sigmoid"}


def _deepseek_moe(c: Keys) -> Fields:
    return _shared_and_dense_first(c) | {"gate_weights": _softmax(c)}


def _switch(c: Keys) -> Fields:
    encoder = c.count("num_layers", most=MOST_LAYERS)
    decoder = c.count("num_decoder_layers", encoder, most=MOST_LAYERS)
    layers = _switch_layers(encoder, c.count("num_sparse_encoder_layers", least=0, most=encoder), 0)
    layers += _switch_layers(decoder, c.count("num_sparse_decoder_layers", least=0, most=decoder), encoder)
    return {
        "n_model_layers": encoder + decoder,
        "hidden": c.count("d_model"),
        "vocab": c.count("vocab_size"),
        "tied_embeddings": c.flag("tie_word_embeddings", default=True),
        "attention": {
            "heads": c.count("num_heads"),
            "kv_heads": c.count("num_heads"),
            "head_dim": c.count("d_kv"),
            "kind": "gqa",
        },
        "n_experts": c.count("num_experts"),
        "top_k": 1,
        "expert_ffn": c.count("d_ff"),
        "expert_matrices": 2,
        "dense_ffn": c.count("d_ff"),
        "moe_layer_list": layers,
        "gate_weights": "softmax",
        "notes": "encoder layers first, then decoder layers; cross-attention is not counted",
    }


def _switch_layers(n_layers: int, n_sparse: int, first: int) -> list[int]:
    step = n_layers // n_sparse if n_sparse else n_layers + 1
    return [first + i for i in range(n_layers) if (i % step == 1 or step == 1)]


_READERS: dict[str, Callable[[Keys], Fields]] = {
    "mixtral": _mixtral,
    "phimoe": _phimoe,
    "gpt_oss": _mixtral,
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
