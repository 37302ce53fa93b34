"""The name of a model as recordings say it: an id of a hub, a folder, a file; and which of ours that is."""

from __future__ import annotations

import re
from functools import cache

from simulator.trace.core import TraceHeader

SUFFIX = re.compile(
    r"(-(instruct|chat|base|it|hf|thinking|preview|sft|dpo|v[0-9]+([.-][0-9]+)*|[0-9]{4,8}|fp8|fp16|bf16|fp4|mxfp4|nvfp4"
    r"|dynamic|awq|gptq|gguf|int[248]|[248]bit|nf4|w4a16|w8a8|ud|i?q[2-8](-[0-9a-z]+)*|channel|mlx|onnx|unsloth|bnb))*"
)
"""What names add to a model's own: tuning, date, precision."""


def last_part(said: str) -> str:
    """Return the last part of a path or of a hub's id; never empty."""
    snapshot = re.search(r"models--[^/\\]+--([^/\\]+)", said)  # a cache of a hub
    if snapshot:
        return snapshot[1]
    parts = [part for part in re.split(r"[/\\]+", said.strip()) if part not in ("", ".", "..", "~")]
    return re.sub(r"\.(gguf|safetensors|bin|json|pt)$", "", parts[-1]) if parts else "unknown"


@cache
def ours(said: str) -> str | None:
    """Return the one of moesim's models that a name means, None where it means none."""
    from simulator import data

    name = re.sub(r"[_\s]+", "-", last_part(said).lower())
    known = [one for one in data.names("models") if name.startswith(one)]
    best = max(known, key=len, default=None)
    return best if best is not None and SUFFIX.fullmatch(name[len(best) :]) else None


def named(header: TraceHeader) -> TraceHeader:
    """Return a header whose model is a name: one of ours where layers, experts and k agree, never a path."""
    from simulator.model.load import load_model

    name = last_part(header.model) if re.search(r"[/\\]", header.model) else header.model
    if (mine := ours(header.model)) is not None:
        spec = load_model(mine)
        if (len(spec.moe_layers), spec.n_experts, spec.top_k) == (
            header.n_layers,
            header.n_experts,
            header.top_k,
        ):
            name = mine
    return header.model_copy(update={"model": name}) if name != header.model else header
