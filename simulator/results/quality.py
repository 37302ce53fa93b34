"""What low precision costs in quality, where somebody published it for the model and precision.

Only whole models at one precision of experts were published. Between none and all of the gate mass at
low precision the loss is taken to grow in proportion: an assumption, which HOBBIT's remark that up to
20 % of experts at low precision cost at most 1 % (arXiv 2411.01433, fig. 3) does not contradict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HQQ = "Eliseev and Mazur, arXiv 2312.17238, table 1 (HQQ experts, 16-bit attention, WikiText-2)"
GGUF = "ikawrakow/mixtral-8x7b-quantized-gguf (WikiText-2, 512 tokens, over int8)"


@dataclass(frozen=True, slots=True)
class Loss:
    """Perplexity in percent above the main precision, all experts at the low one, and who measured it."""

    percent: float
    source: str


PUBLISHED: dict[tuple[str, str, str], Loss] = {
    ("mixtral-8x7b", "fp16", "int4"): Loss(100 * (3.67 / 3.59 - 1), HQQ),
    ("mixtral-8x7b", "fp16", "int2"): Loss(100 * (4.52 / 3.59 - 1), HQQ),
    ("mixtral-8x7b", "int8", "Q4_0"): Loss(100 * (4.2001 / 4.1049 - 1), GGUF),
    ("mixtral-8x7b", "int8", "Q2_K"): Loss(100 * (5.0576 / 4.1049 - 1), GGUF),
}
MOST_SKIPPED = 0.10
"""Share of gate mass above which a run's skipping is warned of.

HOBBIT (arXiv 2411.01433, fig. 3b): perplexity grows by more than 1 % where 10 % of the experts are skipped.
Those are the weakest and hold less than 10 % of the gate mass: so much mass skipped costs more.
"""

SAME = {"bf16": "fp16", "Q8_0": "int8"}


def published_loss(model: str, precisions: Sequence[str]) -> Loss | None:
    """Return the loss of a model's second precision against its first; None where nobody published it."""
    if len(precisions) != 2:
        return None
    main, low = (SAME.get(name, name) for name in precisions)
    return PUBLISHED.get((model, main, low))
