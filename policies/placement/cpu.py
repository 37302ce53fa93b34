"""Compute missed experts on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from policies.base import Event, Place, Placed, Placement

FETCH, CPU = Placed(), Placed(Place.CPU)


class Cpu(Placement):
    """Computes each missed expert that is in DRAM there, and fetches the others.

    ``decode_only`` leaves prompt passes to the GPU (HOBBIT's CPU mode); ``most_tokens`` leaves it all
    passes of more tokens (llama.cpp moves the weights instead from 32 tokens on).
    """

    cite = (
        "Tang et al., HOBBIT, 2024, arXiv 2411.01433, section 4 (CPU-GPU cooperation); llama.cpp, --n-cpu-moe"
    )
    uses_cpu = True

    def __init__(
        self, most_tokens: Annotated[int, Field(ge=1)] | None = None, *, decode_only: bool = False
    ) -> None:
        self.most_tokens, self.decode_only = most_tokens, decode_only

    def place(self, event: Event, missed: Sequence[int], in_dram: Sequence[bool]) -> Sequence[Placed]:
        """Return the CPU for each key that is in DRAM."""
        too_many = self.most_tokens is not None and len(event.rows) > self.most_tokens
        if too_many or (self.decode_only and not event.decode):
            return [FETCH] * len(missed)
        return [CPU if there else FETCH for there in in_dram]
