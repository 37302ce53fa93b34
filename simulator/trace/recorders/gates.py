"""The routers that a model calls: how they score, how large their experts are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from simulator.errors import InputError
from simulator.trace.recorders.prompts import Tokens
from simulator.trace.recorders.routers import Router, Routing, find_routers

Scoring = Literal["softmax", "sigmoid"]
WeightKind = Literal["softmax", "renormalised", "sigmoid"]
PROBE_TOKENS = 64
TOLERANCE = 0.02  # bfloat16 scores are within 0.4 % of their formula


@dataclass(frozen=True, slots=True)
class Gates:
    """The L routers of a model in the order in which a pass calls them.

    ``moe_layers`` are their model layers; ``scoring`` turns their logits into gate
    probabilities; ``weights`` is the kind of the k weights that they return (as in the trace's
    header). Bytes have one entry a MoE layer, None where a router has no ``experts`` beside it.
    """

    routers: tuple[Router, ...]
    moe_layers: tuple[int, ...]
    n_experts: int
    top_k: int
    scoring: Scoring
    weights: WeightKind
    expert_bytes: tuple[int, ...] | None
    dense_bytes: tuple[int, ...] | None

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the gate probabilities [tokens, E] of router logits [tokens, E]."""
        return score(self.scoring, logits)


def score(scoring: Scoring, logits: torch.Tensor) -> torch.Tensor:
    """Return the softmax or the sigmoid of logits [tokens, E], in float32."""
    return torch.softmax(logits.float(), dim=-1) if scoring == "softmax" else logits.float().sigmoid()


def find_gates(model: nn.Module, tokens: Tokens) -> Gates:
    """Return the routers that a short pass over ``tokens`` calls, and what their outputs show.

    Raises InputError where no router is called, or where experts or k differ between layers.
    """
    found: list[tuple[Router, Routing]] = []
    handles = [
        router.module.register_forward_hook(
            lambda _module, args, kwargs, output, router=router: found.append(
                (router, router.seen(args, kwargs, output))
            ),
            with_kwargs=True,
        )
        for router in find_routers(model)
    ]
    try:
        with torch.inference_mode():
            device = next(model.parameters()).device
            model(input_ids=torch.tensor([list(tokens[:PROBE_TOKENS])], device=device), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    where = type(model).__name__
    if not found:
        raise InputError(where, "no routers found", "a model with MoE layers of a family that is known")
    shapes = {(logits.shape[-1], ids.shape[-1]) for _, (logits, _, ids) in found}
    if len(shapes) > 1:
        raise InputError(
            where, f"(experts, k) differ between layers: {sorted(shapes)}", "every layer must have the same"
        )
    n_experts, top_k = shapes.pop()
    logits, scores, indices = (torch.cat([routing[i].cpu() for _, routing in found]) for i in range(3))
    scoring, weights = classify(logits, scores, indices)
    sizes = [layer_bytes(model, router.name, n_experts) for router, _ in found]
    known = [size for size in sizes if size is not None]
    complete = len(known) == len(sizes)
    return Gates(
        routers=tuple(router for router, _ in found),
        moe_layers=tuple(int(_layer(router.name)[1]) for router, _ in found),
        n_experts=n_experts,
        top_k=top_k,
        scoring=scoring,
        weights=weights,
        expert_bytes=tuple(expert for expert, _ in known) if complete else None,
        dense_bytes=tuple(dense for _, dense in known) if complete else None,
    )


def classify(logits: torch.Tensor, scores: torch.Tensor, indices: torch.Tensor) -> tuple[Scoring, WeightKind]:
    """Return how a router scores, read from logits [n, E], scores [n, k] and indices [n, k].

    Sigmoid where the shares of the chosen scores are those of the sigmoid, else softmax. The
    weights are ``renormalised`` where they sum to 1, ``softmax`` where they are the softmax
    itself, else ``sigmoid``: unnormalised, or scaled by a factor.
    """
    chosen = {kind: score(kind, logits).gather(-1, indices) for kind in ("softmax", "sigmoid")}
    weights = scores.float()
    fault = {kind: (_shares(value) - _shares(weights)).abs().max() for kind, value in chosen.items()}
    sigmoid = fault["sigmoid"] < fault["softmax"] and fault["sigmoid"] < TOLERANCE
    if bool(((weights.sum(dim=-1) - 1).abs() < TOLERANCE).all()):
        kind: WeightKind = "renormalised"
    elif not sigmoid and torch.allclose(weights, chosen["softmax"], rtol=TOLERANCE, atol=1e-4):
        kind = "softmax"
    else:
        kind = "sigmoid"
    return ("sigmoid" if sigmoid else "softmax"), kind


def layer_bytes(model: nn.Module, router: str, n_experts: int) -> tuple[int, int] | None:
    """Return the bytes of one expert and of all else in a router's layer, as loaded."""
    experts: Any = getattr(model.get_submodule(router.rpartition(".")[0]), "experts", None)
    if not isinstance(experts, nn.Module):
        return None
    expert_bytes = _bytes(experts)
    return expert_bytes // n_experts, _bytes(model.get_submodule(_layer(router)[0])) - expert_bytes


def _shares(values: torch.Tensor) -> torch.Tensor:
    """Return the values over their sum; a single value stays as it is."""
    return values / values.sum(dim=-1, keepdim=True) if values.shape[-1] > 1 else values


def _bytes(module: nn.Module) -> int:
    """Return the bytes of a module's parameters."""
    return sum(parameter.numel() * parameter.element_size() for parameter in module.parameters())


def _layer(name: str) -> tuple[str, str]:
    """Return the path and the number of the layer that a module is in: the first number in its name."""
    match = re.match(r"(.*?\.(\d+))\.", name)
    if match is None:
        raise InputError(name, "this router is in no numbered layer", "a name like model.layers.3.mlp.gate")
    return match[1], match[2]
