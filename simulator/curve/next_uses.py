"""When each key is demanded next, block by block: Belady's rule needs no more of the future in memory.

The first reading keeps, for each block, the first step that demands each key; from behind, these become the
first step after the block. The second reading has a block and that row, which is all that its lookups need.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from simulator.curve.events import Events, Ints

NEVER = 2**40


def first_after(blocks: Iterable[Events]) -> list[Ints]:
    """Return for each block the first step after it that demands each key [L * E], NEVER where none does."""
    firsts = []
    for block in blocks:
        row = np.full(block.n_layers * block.n_experts, NEVER, dtype=np.int64)
        row[block.keys[::-1]] = block.steps()[::-1]  # the last write stays: the first use
        firsts.append(row)
    after = np.full_like(firsts[0], NEVER)
    for index in reversed(range(len(firsts))):
        firsts[index], after = after, np.minimum(after, firsts[index])
    return firsts


def next_uses(block: Events, after: Ints) -> Ints:
    """Return for each lookup [N] of a block the step that demands its key next, NEVER where none does."""
    steps = block.steps()
    order = np.argsort(block.keys, kind="stable")
    ordered = block.keys[order]
    again = np.flatnonzero(ordered[1:] == ordered[:-1])
    found = after[block.keys]
    found[order[again]] = steps[order[again + 1]]
    return found
