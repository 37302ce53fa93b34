"""For which model constants are published: they hold there, and are an assumption elsewhere."""

from __future__ import annotations

from policies.base import Context

MIXTRAL_8X7B = "mixtral-8x7b"
SHAPE = (32, 8, 2)
"""Its MoE layers, experts of a layer, and experts of a token."""


def is_mixtral_8x7b(context: Context) -> bool:
    """Return whether the run's model is Mixtral-8x7B or a fine-tune of it: by its name and its shape."""
    shape = context.n_layers, context.n_experts, context.top_k
    return MIXTRAL_8X7B in context.model.lower() and shape == SHAPE
