"""The names that configs of models have for the same number, and the numbers that are lists."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from simulator.errors import InputError
from simulator.model.hf_keys import MOST, Keys

WORDS: dict[str, tuple[str, ...]] = {
    "layers": ("num_hidden_layers", "n_layers", "n_layer", "num_layers"),
    "hidden": ("hidden_size", "d_model", "n_embd", "model_dim"),
    "heads": ("num_attention_heads", "n_heads", "n_head", "num_heads"),
    "kv_heads": ("num_key_value_heads", "num_kv_heads", "n_kv_heads", "kv_n_heads", "num_attention_groups",
                 "multi_query_group_num"),
    "head_dim": ("head_dim", "attention_head_dim", "kv_channels", "d_head"),
    "experts": ("num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts",
                "num_routed_experts", "n_experts", "num_moe_experts", "moe_num_primary_experts"),
    "top_k": ("num_experts_per_tok", "num_experts_per_token", "experts_per_token", "num_experts_per_topk",
              "moe_topk", "moe_top_k", "moe_k", "top_k_experts", "moe_router_topk", "n_activated_experts",
              "num_activated_experts", "num_selected_experts", "num_active_experts",
              "moe_num_active_primary_experts", "expert_top_k", "top_k", "topk"),
    "expert_ffn": ("moe_intermediate_size", "moe_ffn_hidden_size", "expert_ffn_hidden_size",
                   "expert_intermediate_size", "moe_ffn_dim", "expert_hidden_size", "expert_dim"),
    "dense_ffn": ("intermediate_size_mlp", "dense_intermediate_size", "prefix_dense_intermediate_size",
                  "ffn_hidden_size", "intermediate_size", "ffn_dim", "d_ff"),
    "shared_ffn": ("shared_expert_intermediate_size", "moe_shared_expert_intermediate_size",
                   "shared_intermediate_size", "share_expert_dim", "shared_expert_dim",
                   "shared_expert_ffn_hidden_size"),
    "shared": ("n_shared_experts", "num_shared_experts", "moe_num_shared_experts", "num_shared_expert",
               "shared_experts"),
    "dense_first": ("first_k_dense_replace", "num_dense_layers", "n_dense_layers", "first_dense_layers",
                    "moe_layer_start_index", "moe_layer_num_skipped", "n_first_dense_layers",
                    "num_dense_layer", "first_moe_layer", "dense_first_k"),
}  # fmt: skip
"""Our word, and the keys that mean it; the first that is there counts."""


class Words:
    """A config's numbers by our words; ``assumed`` collects what had to be assumed."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self.assumed: list[str] = []

    def key(self, word: str) -> str | None:
        """Return the key that a word has here; None where it has none."""
        return next((key for key in WORDS[word] if self.keys.data.get(key) is not None), None)

    def number(self, word: str, least: int = 1) -> int | None:
        """Return a number, None where no key says it. Errors: InputError (no whole number)."""
        key = self.key(word)
        return None if key is None else self.one(key, self.keys.data[key], least)

    def need(self, word: str) -> int:
        """Return a number that must be there. Errors: InputError (it is not)."""
        found = self.number(word)
        if found is None:
            hint = (
                f"one of {', '.join(WORDS[word][:6])}, ...; or write the model as YAML (moesim schema model)"
            )
            raise InputError(self.keys.where, f"says nothing of {NAMES[word]}", hint)
        return found

    def one(self, key: str, value: Any, least: int = 1) -> int:
        """Return the number of a key; a list, one for each layer, must say the same where it is not 0."""
        if isinstance(value, list) and value:
            said = {self.one(key, item, 0) for item in value} - {0}
            if len(said) > 1:
                raise self.keys.fault(key, value, "the same in each layer; or write the model as YAML")
            value = said.pop() if said else 0
        if isinstance(value, float) and value == int(value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= MOST:
            raise self.keys.fault(key, value, f"a whole number from {least} to {MOST}")
        return value

    def first(self, names: Iterable[str]) -> tuple[str, Any] | None:
        """Return the first of some keys that is there, with its value."""
        data = self.keys.data
        return next(((name, data[name]) for name in names if data.get(name) is not None), None)


NAMES = {
    "layers": "how many layers it has", "hidden": "its width", "heads": "attention heads",
    "experts": "how many experts a layer has", "top_k": "how many experts a token uses",
    "expert_ffn": "the width of an expert",
}  # fmt: skip
