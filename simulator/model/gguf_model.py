"""A model spec from a GGUF file: layers, experts and bytes are those of its tensors."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from simulator.config.yaml_file import validate_mapping
from simulator.errors import InputError
from simulator.model.gguf_header import Tensor, read_header
from simulator.model.spec import ModelSpec

EXPERTS = re.compile(r"blk\.(\d+)\.ffn_(gate_up|gate|up|down)_exps\.weight")
SINGLE = re.compile(r"blk\.(\d+)\.ffn_(gate|up|down)\.(\d+)\.weight")
"""The experts of a layer as one tensor, or each on its own (files of 2024)."""
BLOCK = re.compile(r"blk\.(\d+)\.(.+)")
ORDER = ("gate_up", "gate", "up", "down")
"""The order in which an expert's tensors are computed."""
GATES = {1: "softmax", 2: "sigmoid", 3: "renormalised"}
"""``expert_gating_func``: over all experts, sigmoids, softmax over the chosen ones."""


def read_gguf(path: Path) -> ModelSpec:
    """Return the model of a GGUF file, or of one part of a split one. Errors: InputError (no experts)."""
    header, where = read_header(path), str(path)
    facts = _Facts(header.facts, where)
    experts = _experts(header.tensors.values(), where)
    layers = sorted(experts)
    n_experts = {tensor.shape[2] for layer in layers for tensor in experts[layer].values()}
    if len(n_experts) != 1:
        raise InputError(where, f"layers with {sorted(n_experts)} experts", "the same number in each layer")
    first = experts[layers[0]]
    rest = [
        t for t in header.tensors.values() if not EXPERTS.fullmatch(t.name) and not SINGLE.fullmatch(t.name)
    ]
    n_layers = 1 + max(int(match[1]) for t in header.tensors.values() if (match := BLOCK.match(t.name)))
    embedding = header.tensors.get("token_embd.weight")
    hidden = first["down"].shape[1]
    fused = "gate_up" in first
    width = first["down"].shape[0]
    fields: dict[str, Any] = {
        "name": re.sub(r"-\d{5}-of-\d{5}$", "", path.stem),
        "title": str(header.facts.get("general.name", path.stem)),
        "source": f"{path}: tensors of a GGUF file, architecture {facts.architecture}",
        "n_model_layers": n_layers,
        "hidden": hidden,
        "vocab": embedding.shape[1] if embedding else len(header.facts.get("tokenizer.ggml.tokens", [])),
        "tied_embeddings": "output.weight" not in header.tensors,
        "attention": _attention(facts, rest, n_layers, hidden),
        "n_experts": n_experts.pop(),
        "top_k": facts.number("expert_used_count"),
        "expert_ffn": width,
        "expert_matrices": 3 if fused or "gate" in first else 2,
        "fused_gate_up": fused,
        "shared_ffn": _width(rest, r"blk\.\d+\.ffn_down_shexp\.weight"),
        "dense_ffn": _width(rest, r"blk\.\d+\.ffn_down\.weight") or (0 if len(layers) == n_layers else 1),
        "moe_layer_list": layers,
        "gate_weights": _gate(facts),
        "main_precision": _commonest(t for layer in layers for t in experts[layer].values()),
        "dense_precision": _commonest(rest),
        "file_expert_tensors": [
            [
                -(-experts[layer][name].n_bytes // experts[layer][name].shape[2])
                for name in ORDER
                if name in experts[layer]
            ]
            for layer in layers
        ],
        "file_dense_bytes": sum(t.n_bytes for t in rest),
        "assumed": facts.assumed,
    }
    return validate_mapping(fields, ModelSpec, where)


class _Facts:
    """Metadata by their names without the architecture's."""

    def __init__(self, facts: dict[str, Any], where: str) -> None:
        self.facts, self.where = facts, where
        self.architecture = str(facts.get("general.architecture", "unknown"))
        self.assumed: list[str] = []

    def get(self, name: str) -> Any:
        return self.facts.get(f"{self.architecture}.{name}")

    def number(self, name: str, default: int | None = None) -> int:
        """Return a number; of an array, one for each layer, the largest. Errors: InputError (none)."""
        value = self.get(name)
        if isinstance(value, list) and value:
            value = max(value)
        if value is None and default is not None:
            return default
        if not isinstance(value, int) or value < 1:
            what = (
                f"{self.architecture}.{name} is {value!r:.40}"
                if value is not None
                else f"has no {self.architecture}.{name}"
            )
            raise InputError(self.where, what, "a number above 0 in its metadata")
        return value


def _experts(tensors: Iterable[Tensor], where: str) -> dict[int, dict[str, Tensor]]:
    """Return the tensors of the experts by layer and name; single ones are joined, with the experts last."""
    found: dict[int, dict[str, Tensor]] = {}
    singles: dict[tuple[int, str], list[Tensor]] = {}
    for tensor in tensors:
        if match := EXPERTS.fullmatch(tensor.name):
            if len(tensor.shape) != 3:
                raise InputError(
                    where, f"{tensor.name} has {len(tensor.shape)} dimensions", "width, height, experts"
                )
            found.setdefault(int(match[1]), {})[match[2]] = tensor
        elif match := SINGLE.fullmatch(tensor.name):
            singles.setdefault((int(match[1]), match[2]), []).append(tensor)
    for (layer, name), each in singles.items():
        joined = Tensor(each[0].name, (*each[0].shape, len(each)), each[0].kind)
        found.setdefault(layer, {})[name] = joined
    for layer, there in found.items():
        if "down" not in there or not {"up", "gate_up"} & there.keys():
            raise InputError(where, f"layer {layer} has experts without ffn_up or ffn_down", "a whole model")
    if not found:
        raise InputError(where, "has no experts (no ffn_down_exps)", "a Mixture-of-Experts model is wanted")
    return found


def _attention(facts: _Facts, tensors: list[Tensor], n_layers: int, hidden: int) -> dict[str, Any]:
    """Return attention by its tensors: latent, plain, or plain in some layers and linear in the others."""
    heads = facts.number("attention.head_count")
    if facts.get("attention.kv_lora_rank") is not None:
        rope = facts.number("rope.dimension_count")
        key = facts.number("attention.key_length_mla", facts.number("attention.key_length", 192))
        return {
            "kind": "mla",
            "heads": heads,
            "kv_lora": facts.number("attention.kv_lora_rank"),
            "q_lora": facts.get("attention.q_lora_rank") or None,
            "qk_rope": rope,
            "qk_nope": max(1, key - rope),
            "v_head": facts.number("attention.value_length_mla", facts.number("attention.value_length", 128)),
        }
    plain = {
        "heads": heads,
        "kv_heads": facts.number("attention.head_count_kv", heads),
        "head_dim": facts.number("attention.key_length", max(1, hidden // heads)),
    }
    growing = {
        int(m[1]) for t in tensors if (m := re.fullmatch(r"blk\.(\d+)\.attn_(k|kv|qkv)\.weight", t.name))
    }
    linear_of: Counter[int] = Counter()
    for t in tensors:
        match = re.fullmatch(r"blk\.(\d+)\.((?:ssm_|attn_|shortconv\.|time_mix_).+\.weight)", t.name)
        if match and len(t.shape) > 1:
            linear_of[int(match[1])] += t.n_weights
    states = {int(m[1]) for t in tensors if (m := re.match(r"blk\.(\d+)\.(ssm_|shortconv|time_mix)", t.name))}
    growing -= states
    if growing and len(growing) < n_layers:
        linear = sorted(states)
        mean = sum(linear_of[layer] for layer in linear) // len(linear) if linear else 0
        without = n_layers - len(growing) - len(linear)
        kinds = {"growing": len(growing), "linear": len(linear), "linear_params": mean, "without": without}
        return {"kind": "mixed", **plain, **kinds}
    window, pattern = facts.get("attention.sliding_window"), facts.get("attention.sliding_window_pattern")
    if window and isinstance(pattern, list) and len(pattern) >= n_layers and any(pattern):
        windowed = sum(map(bool, pattern[:n_layers]))
        facts.assumed.append(f"the KV cache of {windowed} layers with a window does not grow")
        return {"kind": "mixed", **plain, "growing": n_layers - windowed, "windowed": windowed}
    return {"kind": "gqa", **plain}


def _gate(facts: _Facts) -> str:
    kind = GATES.get(facts.get("expert_gating_func") or 0)
    if kind is None:
        facts.assumed.append("gate weights are renormalised over the chosen experts")
        return "renormalised"
    return "renormalised" if kind == "softmax" and facts.get("expert_weights_norm") else kind


def _width(tensors: list[Tensor], pattern: str) -> int:
    return max((t.shape[0] for t in tensors if re.fullmatch(pattern, t.name)), default=0)


def _commonest(tensors: Iterable[Tensor]) -> str:
    """Return the type that most weights have."""
    weights: Counter[str] = Counter()
    for tensor in tensors:
        weights[tensor.kind] += tensor.n_weights
    return weights.most_common(1)[0][0] if weights else "fp16"
