"""Weights of 2, 3 and 4 bits that eager PyTorch unpacks to float16, kernel by kernel.

Layout, after HQQ (https://github.com/mobiusml/hqq, hqq/core/bitpack.py): groups of weights lie side by side
[GROUP, groups]. A word holds weights that are ``rows`` apart, the first in its highest bits.
"""

from __future__ import annotations

from typing import Any

GROUP = 64
"""Weights that share a scale and a zero."""
PER_WORD = {4: 2, 2: 4, 3: 10}
"""Weights in a word, by bits: words are bytes, and 32 bits for 3."""
LAUNCHES = {bits: 3 * n + 3 for bits, n in PER_WORD.items()}
"""Kernels: shift, mask and write a slice; then convert, subtract and scale all."""


def rows(bits: int) -> int:
    """Return the words of a group."""
    return -(-GROUP // PER_WORD[bits])


def unpack(torch: Any, words: Any, bits: int) -> Any:
    """Return uint8 [GROUP, groups] of ``words`` [rows, groups]."""
    n, per = len(words), PER_WORD[bits]
    found = torch.empty((n * per, words.shape[1]), dtype=torch.uint8, device=words.device)
    for i in range(per):
        found[i * n : (i + 1) * n] = (words >> (bits * (per - 1 - i))) & ((1 << bits) - 1)
    return found[:GROUP]


def to_float16(torch: Any, words: Any, bits: int, zeros: Any, scales: Any) -> Any:
    """Return float16 [GROUP, groups]: (weight - zero) * scale, both [1, groups]."""
    return (unpack(torch, words, bits).to(torch.float16) - zeros) * scales
