"""Which layers of a model have experts, as configs say it: lists, the first dense ones, every n-th."""

from __future__ import annotations

from typing import Any

from simulator.model.hf_words import Words

EVERY_FROM_1 = (
    "decoder_sparse_step", "interleave_moe_layer_step", "moe_layer_interval", "moe_layer_frequency",
    "moe_every_n_layers", "moe_every", "moe_interval",
)  # fmt: skip
"""Layer i has experts where i + 1 is a multiple."""
SPARSE = {"sparse", "moe", "experts", "e"}


def moe_layers(words: Words, n_layers: int) -> list[int]:
    """Return the layers with experts, ascending. Errors: InputError (a list of another length, ...)."""
    found = _listed(words, n_layers)
    if found is not None:
        return found
    data = words.keys.data
    first = words.number("dense_first", 0) or 0
    last = words.keys.maybe_count("moe_layer_end_index")
    layers = range(first, min(n_layers, last + 1) if last is not None and last + 1 < n_layers else n_layers)
    if data.get("expert_layer_period") is not None:  # Jamba
        period, offset = (
            words.keys.count("expert_layer_period"),
            words.keys.count("expert_layer_offset", 0, least=0),
        )
        return [i for i in layers if i % period == offset]
    if data.get("moe_layer_freq") is not None:  # DeepSeek
        every = words.one("moe_layer_freq", data["moe_layer_freq"])
        return [i for i in layers if i % every == 0]
    every = next((words.one(key, data[key], 0) for key in EVERY_FROM_1 if data.get(key) is not None), 1) or 1
    dense = set(words.keys.listed("mlp_only_layers", int))
    return [i for i in layers if (i + 1) % every == 0 and i not in dense]


def _listed(words: Words, n_layers: int) -> list[int] | None:
    """Return the layers that a list, or a pattern of letters, names; None where there is none."""
    data = words.keys.data
    pattern = data.get("hybrid_override_pattern")  # Nemotron-H: E experts, M Mamba, * attention, - dense
    if isinstance(pattern, str) and "E" in pattern:
        return [i for i, letter in enumerate(pattern) if letter == "E"]
    for key in (
        "mlp_layer_types",
        "ffn_layer_types",
        "moe_layer_types",
        "layers_block_type",
        "moe_layer_freq",
    ):
        value = data.get(key)
        if isinstance(value, list) and len(value) >= n_layers:
            marked = [i for i, one in enumerate(value[:n_layers]) if _is_sparse(one)]
            if marked:
                return marked
    for key in ("moe_layers", "moe_layer_indices", "moe_layers_enum", "moe_layer_list", "sparse_layers"):
        value = data.get(key)
        if isinstance(value, str):
            value = [int(part) for part in value.split(",") if part.strip().isdigit()]
        if isinstance(value, list) and value and all(type(one) is int for one in value):
            return sorted({one for one in value if 0 <= one < n_layers})
    return None


def _is_sparse(one: Any) -> bool:
    return one in (1, True) if not isinstance(one, str) else one.lower() in SPARSE
