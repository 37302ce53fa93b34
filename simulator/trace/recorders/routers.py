"""The routers of a model, and what a call of one says: logits, weights, expert ids.

transformers 5: every router is a module that returns (logits, weights, ids). transformers 4.57:
Mixtral, OLMoE, Qwen and their kin route in the MoE block, after a plain linear gate; the routers
of DeepSeek and GLM return (ids, weights), those of GPT-OSS (scores of all experts, ids).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from simulator.errors import InputError

Routing = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Logits [tokens, E], weights [tokens, k], expert ids [tokens, k]."""

ROUTERS = ("TopKRouter", "TopkRouter", "MoEGate")
# Blocks of 4.57 that take the k best of the softmax of their gate's logits. Others have a linear
# gate too, but choose otherwise (Phi-3.5-MoE, Ernie 4.5), so the list is closed.
SOFTMAX_BLOCKS = frozenset(
    f"{family}SparseMoeBlock"
    for family in ("Mixtral", "MiniMax", "Olmoe", "FlexOlmo", "Qwen2Moe", "Qwen3Moe", "Qwen3Next")
)


@dataclass(frozen=True, slots=True)
class Router:
    """One router: the module whose calls it is seen by, and how to read a call."""

    name: str
    module: nn.Module
    read: Callable[[torch.Tensor, Any], Routing]

    def seen(self, args: Any, kwargs: Any, output: Any) -> Routing:
        """Return what a call said, from its arguments and its output."""
        hidden: torch.Tensor = args[0] if args else next(iter(kwargs.values()))
        return self.read(hidden.reshape(-1, hidden.shape[-1]), output)

    def asked(self, args: Any, kwargs: Any) -> Routing:
        """Return what the router says to these arguments; it is not called, so no hook fires."""
        return self.seen(args, kwargs, self.module.forward(*args, **kwargs))


def find_routers(model: nn.Module) -> list[Router]:
    """Return the routers of a model, of either version of transformers, in the order of its modules."""
    routers = []
    for name, module in model.named_modules():
        gate: Any = getattr(module, "gate", None)
        if type(module).__name__.endswith(ROUTERS):
            routers.append(Router(name, module, partial(read_router, module)))
        elif type(module).__name__ in SOFTMAX_BLOCKS and isinstance(gate, nn.Linear):
            routers.append(Router(f"{name}.gate", gate, partial(read_gate, module)))
    return routers


def read_router(router: Any, hidden: torch.Tensor, output: Any) -> Routing:
    """Return the routing in a router's output; 4.57 leaves the logits out, so they are computed again."""
    match output:
        case (logits, weights, ids) if weights.shape == ids.shape and not ids.is_floating_point():
            return logits, weights, ids
        case (ids, weights) if ids.shape == weights.shape and not ids.is_floating_point():
            return nn.functional.linear(hidden.float(), router.weight.float()), weights, ids
        case (scores, ids) if len(scores) == len(ids) and not ids.is_floating_point():
            logits = nn.functional.linear(hidden, router.weight, router.bias)
            return logits, scores.gather(-1, ids), ids
    raise InputError(
        type(router).__name__,
        "this router does not return logits, weights and ids",
        "a model of another family, or another release of transformers",
    )


def read_gate(block: Any, _hidden: torch.Tensor, logits: torch.Tensor) -> Routing:
    """Return what a block of 4.57 makes of its gate's logits."""
    weights, ids = torch.softmax(logits, dim=-1, dtype=torch.float32).topk(block.top_k, dim=-1)
    if getattr(block, "norm_topk_prob", True):  # blocks without the choice renormalise
        weights = weights / weights.sum(dim=-1, keepdim=True)
    return logits, weights.to(logits.dtype), ids
