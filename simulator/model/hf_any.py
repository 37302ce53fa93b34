"""A model spec from the config of any architecture, by the names of its keys.

What no key says is assumed, and said so. Only experts, k and widths must be there.
"""

from __future__ import annotations

from typing import Any

from simulator.errors import InputError
from simulator.model.hf_attention import attention
from simulator.model.hf_keys import Keys
from simulator.model.hf_moe_layers import moe_layers
from simulator.model.hf_words import Words

FLAT = ("ffn_config", "attn_config", "moe_config", "moe", "router_config")
"""Sections whose keys count as the model's own."""
UNGATED = {"relu2", "relu_squared", "squared_relu", "relu"}
SCORES = (
    "scoring_func", "score_function", "score_func", "moe_router_activation_func", "moe_router_score_function",
    "router_activation", "moe_scoring_func", "expert_gating_func", "topk_method",
)  # fmt: skip
NORMS = (
    "norm_topk_prob", "moe_renormalize", "route_norm", "norm_expert_weight", "normalize_expert_weights",
)  # fmt: skip
SIGMOIDS = {"sigmoid", "noaux_tc", "sqrtsoftplus"}


def read_any(keys: Keys, most_layers: int) -> dict[str, Any]:
    """Return the fields of a ModelSpec. Errors: InputError (no experts, k or widths, wrong numbers)."""
    flat = dict(keys.data)
    for section in FLAT:
        inner = flat.get(section)
        if isinstance(inner, dict):
            flat = {**inner, **flat}
    if keys.data.get("hybrid_override_pattern") is not None:
        flat.setdefault("num_hidden_layers", len(str(keys.data["hybrid_override_pattern"])))
    keys = Keys(keys.where, flat, keys.kind)
    words = Words(keys)
    n_layers = words.need("layers")
    if n_layers > most_layers:
        raise keys.fault(words.key("layers") or "", n_layers, f"at most {most_layers}")
    n_experts, top_k = words.need("experts"), words.need("top_k")
    layers = moe_layers(words, n_layers)
    expert_ffn = _expert_ffn(words, whole=len(layers) == n_layers)
    fields = {
        "n_model_layers": n_layers,
        "hidden": words.need("hidden"),
        "vocab": keys.count("vocab_size"),
        "tied_embeddings": _tied(words),
        "top_k": top_k,
        "n_experts": n_experts,
        "expert_ffn": expert_ffn,
        "expert_matrices": _matrices(words),
        "shared_ffn": _shared(words, expert_ffn),
        "dense_ffn": _dense(words) if len(layers) < n_layers else 0,
        "moe_layer_list": layers,
        "attention": attention(words, n_layers),
        "gate_weights": _gate(words),
    }
    return fields | {"assumed": tuple(words.assumed)}


def _expert_ffn(words: Words, *, whole: bool) -> int:
    found = words.number("expert_ffn")
    if found is None:
        found = words.number("dense_ffn") if words.key("dense_ffn") != "intermediate_size_mlp" else None
        found = words.keys.maybe_count("intermediate_size") or found
        if found is None:
            return words.need("expert_ffn")
        if not whole and words.keys.data.get("intermediate_size_mlp") is None:
            words.assumed.append("experts are as wide as intermediate_size")
    return found


def _dense(words: Words) -> int:
    """Return the width of the FFN of layers without experts; next to nothing where a hybrid's have none."""
    pattern = words.keys.data.get("hybrid_override_pattern")
    return 1 if isinstance(pattern, str) and "-" not in pattern else words.number("dense_ffn") or 1


def _shared(words: Words, expert_ffn: int) -> int:
    """Return the width of the shared experts together."""
    width, n = words.number("shared_ffn", 0), words.number("shared", 0)
    if width is not None:
        multiplies = words.key("shared_ffn") == "moe_shared_expert_intermediate_size"
        return width * n if n and multiplies else width
    if n is None and words.keys.data.get("interleave_moe_layer_step") is not None:
        return expert_ffn  # Llama 4 has one, and no key for it
    return (n or 0) * expert_ffn


def _matrices(words: Words) -> int:
    said = words.first(("mlp_hidden_act", "hidden_act", "hidden_activation", "activation", "ffn_act"))
    return 2 if said and str(said[1]).lower() in UNGATED else 3


def _tied(words: Words) -> bool:
    said = words.keys.data.get("tie_word_embeddings")
    if said is None:
        words.assumed.append("embeddings are not tied")
        return False
    return words.keys.flag("tie_word_embeddings", default=False)


def _gate(words: Words) -> str:
    said = words.first(SCORES)
    if said and str(said[1]).lower() in SIGMOIDS:
        return "sigmoid"
    if words.keys.data.get("interleave_moe_layer_step") is not None:
        return "sigmoid"  # Llama 4
    norm = words.first(NORMS)
    if norm is None:
        words.assumed.append("gate weights are renormalised over the chosen experts")
    return "softmax" if norm and norm[1] in (False, 0, None) else "renormalised"


def check_moe(keys: Keys) -> None:
    """Refuse the config of a model without experts. Errors: InputError."""
    words = Words(keys)
    if words.key("experts") is None and not any(isinstance(keys.data.get(one), dict) for one in FLAT):
        what = "says nothing of experts" + (f" ({keys.kind})" if keys.kind else "")
        hint = "a Mixture-of-Experts model is wanted; keys with other names can be written as YAML"
        raise InputError(keys.where, what, f"{hint} (moesim schema model)")
