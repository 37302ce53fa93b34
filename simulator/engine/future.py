"""The future: when each expert is demanded next, for oracles and for the bound of every hit rate."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from policies.base import NEVER, Context, Eviction
from policies.eviction.belady import Belady
from simulator.engine.replay import Evict, Replay


class KnownFuture:
    """The demand of a whole run, by event; implements ``policies.base.Future``.

    ``events`` are the expert keys of every layer step in order, empty demands included, so that an
    event's index is its place. Memory: 20 bytes a lookup.
    """

    def __init__(self, events: Iterable[Sequence[int]]) -> None:
        flat, sizes = array("i"), array("q", [0])
        for keys in events:
            flat.extend(keys)
            sizes.append(len(keys))
        self._keys: npt.NDArray[np.int32] = np.array(flat, dtype=np.int32)
        self._starts = np.cumsum(np.array(sizes, dtype=np.int64))
        by_key = np.argsort(self._keys, kind="stable")
        n_events = len(self._starts) - 1
        when = np.repeat(np.arange(n_events, dtype=np.int32), np.diff(self._starts))[by_key]
        ordered = self._keys[by_key]
        again = ordered[1:] == ordered[:-1]
        self._next = np.full(len(flat), NEVER, dtype=np.int64)
        self._next[by_key[:-1][again]] = when[1:][again]
        self._when = when
        unique, first = np.unique(ordered, return_index=True)
        bounds = [*first.tolist(), len(flat)]
        self._uses = {key: slice(*bounds[i : i + 2]) for i, key in enumerate(unique.tolist())}

    def keys(self, event: int) -> list[int]:
        """Return the keys that ``event`` demands; [] past the end of the run."""
        if event >= len(self._starts) - 1:
            return []
        keys: list[int] = self._keys[self._starts[event] : self._starts[event + 1]].tolist()
        return keys

    def next_uses(self, event: int) -> list[int]:
        """Return, for each key of ``event`` in order, the event of its next use or NEVER."""
        uses: list[int] = self._next[self._starts[event] : self._starts[event + 1]].tolist()
        return uses

    def next_use(self, key: int, event: int) -> int:
        """Return the first event after ``event`` that demands ``key``, or NEVER."""
        if key not in self._uses:
            return NEVER
        uses = self._when[self._uses[key]]
        i = int(uses.searchsorted(event, side="right"))
        return int(uses[i]) if i < len(uses) else NEVER


@dataclass(frozen=True, slots=True)
class Bound:
    """Belady's hit rate; ``heuristic`` where experts differ in size and it is no bound but a good guess."""

    hit_rate: float
    heuristic: bool


def belady_hit_rate(
    events: Iterable[Sequence[int]],
    layers: Iterable[int],
    pools: Sequence[tuple[int, Sequence[int]]],
    sizes: Sequence[int],
    context: Context,
    evict: Evict = "on_insert",
) -> Bound:
    """Return Belady's hit rate on the same demand, capacity and partition, with forced admission.

    Arguments as in ``replay``; ``context`` knows the future of the same events. A run without lookups
    has the rate 0.
    """
    context = replace(context, n_versions=1)

    def make_policy() -> Eviction:
        policy = Belady()
        policy.bind(context)
        return policy

    run = Replay(pools, sizes, make_policy, evict)
    lookups = hits = 0
    for index, (keys, layer) in enumerate(zip(events, layers, strict=False)):
        lookups += len(keys)
        hits += sum(run.event(index, layer, keys))
    return Bound(hits / max(1, lookups), heuristic=len(set(sizes)) > 1)
