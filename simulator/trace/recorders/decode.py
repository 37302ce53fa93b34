"""Prefill, then one token at a time: the passes of a batch, with the routing of each.

Prompts of a batch are padded on the left; padded rows, and rows of sequences that have ended,
are computed but not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

import torch
from torch import nn

from simulator.trace.recorders.hooks import RouterHooks, Rows
from simulator.trace.recorders.prompts import Tokens
from simulator.trace.recorders.sampling import Sampler


@dataclass(slots=True)
class RecordedSequence:
    """One sequence: the tokens that went through the model, and a part of rows for each pass."""

    tokens: list[int]
    n_prompt: int
    parts: list[Rows] = field(default_factory=list)


def run_batch(
    model: nn.Module,
    hooks: RouterHooks,
    prompts: Sequence[Tokens],
    samplers: Sequence[Sampler],
    *,
    decode: int,
    stop: frozenset[int],
    on_tokens: Callable[[int], None],
) -> list[RecordedSequence]:
    """Return the routing of prompts (token ids) and of up to ``decode`` tokens after each.

    A drawn token is recorded when it has gone through the model, so a sequence has exactly
    ``decode`` decoded rows unless a ``stop`` token was drawn, which is not recorded.
    ``on_tokens`` is told how many tokens each pass recorded.
    """
    device = next(model.parameters()).device
    ids, mask = left_pad(prompts, device)
    sequences = [RecordedSequence([int(token) for token in prompt], len(prompt)) for prompt in prompts]
    alive = list(range(len(prompts)))
    cache: Any = None
    cached = cache_argument(model)
    for step in range(decode + 1):
        kept = mask[:, -ids.shape[1] :].bool()
        out = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=(mask.cumsum(dim=-1) - 1).clamp(min=0)[:, -ids.shape[1] :],
            use_cache=True,
            logits_to_keep=1,
            **{cached: cache},
        )
        cache, rows = getattr(out, cached), hooks.take()
        recorded = 0
        for row in alive:
            at = (row * ids.shape[1] + kept[row].nonzero().flatten()).cpu().numpy()
            sequences[row].parts.append({name: values[at] for name, values in rows.items()})
            recorded += len(at)
        on_tokens(recorded)
        if step == decode:
            break
        drawn = {row: samplers[row].draw(out.logits[row, -1]) for row in alive}
        alive = [row for row in alive if drawn[row] not in stop]
        if not alive:
            break
        for row in alive:
            sequences[row].tokens.append(drawn[row])
        # A sequence that has ended is fed its last token again; its rows are not kept.
        ids = torch.tensor([[sequence.tokens[-1]] for sequence in sequences], device=device)
        mask = torch.cat([mask, mask.new_ones(len(prompts), 1)], dim=1)
    return sequences


def cache_argument(model: nn.Module) -> str:
    """Return what a model calls its KV cache: ``past_key_values`` up to transformers 5.23."""
    return "cache" if "cache" in signature(model.forward).parameters else "past_key_values"


def left_pad(prompts: Sequence[Tokens], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids and attention mask, both [batch, longest prompt], padded on the left with 0."""
    longest = max(len(prompt) for prompt in prompts)
    ids = torch.zeros(len(prompts), longest, dtype=torch.long, device=device)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(list(prompt), device=device)
        mask[row, longest - len(prompt) :] = 1
    return ids, mask
