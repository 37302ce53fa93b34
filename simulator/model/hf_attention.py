"""Attention of any config: plain, latent, windowed, or linear in most of its layers."""

from __future__ import annotations

from typing import Any

from simulator.model.hf_words import Words

FULL = {"full_attention", "attention", "full", "global", "global_attention", "*"}
WINDOWED = {
    "sliding_attention",
    "chunked_attention",
    "sliding",
    "local",
    "sliding_window",
    "local_attention",
    "swa",
}
NOTHING = {"-", "E", "moe", "mlp"}


def attention(words: Words, n_layers: int) -> dict[str, Any]:
    """Return the fields of an attention. Errors: InputError (heads are missing)."""
    c = words.keys
    if c.data.get("kv_lora_rank") is not None:
        return {
            "kind": "mla",
            "heads": words.need("heads"),
            "kv_lora": c.count("kv_lora_rank"),
            "q_lora": c.maybe_count("q_lora_rank"),
            "qk_rope": c.count("qk_rope_head_dim"),
            "qk_nope": c.count("qk_nope_head_dim"),
            "v_head": c.count("v_head_dim"),
        }
    heads, hidden = words.need("heads"), words.need("hidden")
    plain = {
        "heads": heads,
        "kv_heads": words.number("kv_heads") or heads,
        "head_dim": words.number("head_dim") or max(1, hidden // heads),
    }
    kinds = _kinds(words, n_layers)
    growing = sum(kind in FULL for kind in kinds)
    windowed = sum(kind in WINDOWED for kind in kinds)
    nothing = sum(kind in NOTHING for kind in kinds)
    linear = n_layers - growing - windowed - nothing
    if growing == n_layers:
        return {"kind": "gqa", **plain}
    if windowed:
        words.assumed.append(f"the KV cache of {windowed} layers with a window does not grow")
    if linear and c.data.get("linear_num_value_heads") is not None and not windowed and growing:
        every = n_layers // growing
        if growing * every == n_layers and c.data.get("linear_key_head_dim") == c.data.get(
            "linear_value_head_dim"
        ):
            return {
                "kind": "gated-delta",
                "full_every": every,
                **plain,
                "delta_key_heads": c.count("linear_num_key_heads"),
                "delta_value_heads": c.count("linear_num_value_heads"),
                "delta_head_dim": c.count("linear_value_head_dim"),
            }
    return {
        "kind": "mixed",
        **plain,
        "growing": growing,
        "windowed": windowed,
        "linear": linear,
        "linear_params": _linear_params(words, plain) if linear else 0,
        "without": nothing,
    }


def _kinds(words: Words, n_layers: int) -> list[str]:
    """Return what each layer has, attention or something else."""
    data = words.keys.data
    pattern = data.get("hybrid_override_pattern")
    if isinstance(pattern, str) and len(pattern) >= n_layers:
        return list(pattern[:n_layers])
    for key in ("layer_types", "layers_block_type", "attention_types"):
        value = data.get(key)
        if isinstance(value, list) and len(value) >= n_layers and all(isinstance(one, str) for one in value):
            kinds = [one.lower() for one in value[:n_layers]]
            if not set(kinds) <= {"sparse", "dense", "moe"}:
                return kinds
    for key in ("full_attn_idxs", "full_attention_layers", "attn_layer_indices", "full_attn_layers"):
        value = data.get(key)
        if isinstance(value, list) and value:
            return ["full" if i in value else "linear" for i in range(n_layers)]
    every = words.first(("full_attention_interval", "attn_layer_period", "full_attn_interval"))
    if every and type(every[1]) is int and every[1] > 1:
        offset = words.keys.count("attn_layer_offset", every[1] - 1, least=0)
        return ["full" if i % every[1] == offset else "linear" for i in range(n_layers)]
    return _flagged(words, n_layers)


def _flagged(words: Words, n_layers: int) -> list[str]:
    """Return the kinds of layers that flags tell, or how often a window is left out; all full otherwise."""
    data = words.keys.data
    flags = words.first(("attn_type_list", "hybrid_layer_pattern"))
    if flags and isinstance(flags[1], list) and len(flags[1]) >= n_layers:
        # MiniMax: 1 is full attention, 0 linear; MiMo: 0 is full, 1 a window
        full, other = (1, "linear") if flags[0] == "attn_type_list" else (0, "sliding")
        return ["full" if one == full else other for one in flags[1][:n_layers]]
    pattern_every = data.get("sliding_window_pattern")
    if type(pattern_every) is int and pattern_every > 1 and data.get("sliding_window"):
        return ["full" if (i + 1) % pattern_every == 0 else "sliding" for i in range(n_layers)]
    return ["full"] * n_layers


def _linear_params(words: Words, plain: dict[str, int]) -> int:
    """Return the weights of a layer without softmax attention: Mamba, gated DeltaNet, a convolution."""
    data, hidden = words.keys.data, words.need("hidden")

    def of(*keys: str) -> int | None:
        found = words.first(keys)
        return found[1] if found and type(found[1]) is int else None

    state = of("mamba_d_state", "ssm_state_size", "state_size")
    if state:
        heads, head = of("mamba_num_heads", "mamba_n_heads"), of("mamba_head_dim", "mamba_d_head")
        expand = data.get("mamba_expand", data.get("expand", 2))
        inner = heads * head if heads and head else int(expand * hidden)
        groups = of("mamba_n_groups", "n_groups") or 1
        if heads:  # Mamba 2: projections in and out, and a convolution
            return (
                hidden * (2 * inner + 2 * groups * state + heads)
                + inner * hidden
                + 4 * (inner + 2 * groups * state)
            )
        rank = of("mamba_dt_rank") or -(-hidden // 16)
        return hidden * 2 * inner + inner * (rank + 2 * state) + rank * inner + inner * hidden
    if data.get("linear_num_value_heads") is not None:
        keys = words.keys.count("linear_num_key_heads") * words.keys.count("linear_key_head_dim")
        values = words.keys.count("linear_num_value_heads") * words.keys.count("linear_value_head_dim")
        return hidden * (2 * keys + 3 * values)
    if of("conv_L_cache", "conv_dim", "conv_l_cache"):
        return 4 * hidden * hidden  # LFM2: three projections in, one out
    words.assumed.append(
        "layers with linear attention have five square projections: q, k, v, gate and output"
    )
    return 5 * hidden * plain["head_dim"] * plain["heads"]
