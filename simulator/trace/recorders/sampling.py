"""Which token comes next: greedy, or temperature and nucleus sampling."""

from __future__ import annotations

import numpy as np
import torch


class Sampler:
    """Draws the tokens of one sequence.

    The generator is seeded by ``seed`` and the sequence's number alone, so that a sequence's
    draws depend neither on its neighbours in a batch nor on the global random state.
    """

    def __init__(self, temperature: float, top_p: float, seed: int, sequence: int) -> None:
        self.temperature, self.top_p = temperature, top_p
        # Torch's CPU generator reads the low 32 bits of a seed only, so the pair is hashed first.
        state = int(np.random.SeedSequence([seed, sequence]).generate_state(1)[0])
        self._generator = torch.Generator().manual_seed(state)

    def draw(self, logits: torch.Tensor) -> int:
        """Return the next token for logits [vocabulary]; the most likely one at temperature 0."""
        if self.temperature == 0:
            return int(logits.argmax())
        scaled = logits.detach().to("cpu", torch.float32) / self.temperature
        probabilities, tokens = torch.softmax(scaled, dim=-1).sort(descending=True, stable=True)
        # A token stays while the mass before it is below top_p; the first always does.
        outside = probabilities.cumsum(dim=-1) - probabilities >= self.top_p
        outside[0] = False
        nucleus = probabilities.masked_fill(outside, 0.0)
        return int(tokens[torch.multinomial(nucleus, 1, generator=self._generator)])
