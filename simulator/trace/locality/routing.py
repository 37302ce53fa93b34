"""The tokens that are analysed: one phase of a trace, in stretches of consecutive positions, in windows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.errors import InputError
from simulator.trace.core import DECODE, MISSING, PREFILL, Ids, Trace

WINDOW = 512
PHASES = {"all": (PREFILL, DECODE), "prefill": (PREFILL,), "decode": (DECODE,)}

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Window:
    """Tokens ``start`` to ``stop`` - 1, consecutive in sequence number ``sequence`` (0, 1, ...)."""

    start: int
    stop: int
    sequence: int


@dataclass(frozen=True)
class Routing:
    """Which experts the selected tokens of a trace used.

    ``experts`` [T, L, k] and ``predicted[d - 1]`` [T, L, k] are the trace's; ``sequence`` [T] numbers the
    sequences 0, 1, ...; ``stretch`` [T] numbers the runs of consecutive positions within them.
    """

    experts: Ids
    predicted: tuple[Ids, ...]
    sequence: npt.NDArray[np.int64]
    stretch: npt.NDArray[np.int64]
    n_experts: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """T tokens, L layers, k experts a token."""
        n_tokens, n_layers, top_k = self.experts.shape
        return n_tokens, n_layers, top_k

    @cached_property
    def recorded(self) -> npt.NDArray[np.bool_]:
        """Which rows [T, L] were recorded."""
        there: npt.NDArray[np.bool_] = self.experts[:, :, 0] != MISSING
        return there

    @cached_property
    def sequence_starts(self) -> npt.NDArray[np.int64]:
        """The first token of each sequence."""
        return np.flatnonzero(np.diff(self.sequence, prepend=-1))

    def by_sequence(self, values: Array) -> Array:
        """Return the sums of ``values`` [T' <= T, ...] over the tokens of each sequence: [S, ...]."""
        starts = self.sequence_starts
        within = starts[starts < len(values)]
        sums = np.zeros((len(starts), *values.shape[1:]), dtype=np.int64)
        if len(within):
            sums[: len(within)] = np.add.reduceat(values, within, axis=0, dtype=np.int64)
        return sums

    @cached_property
    def windows(self) -> tuple[Window, ...]:
        """Whole stretches of up to WINDOW tokens; longer ones cut into WINDOW tokens, the rest left out."""
        edges = [*np.flatnonzero(np.diff(self.stretch, prepend=-1)).tolist(), len(self.stretch)]
        found = []
        for start, stop in pairwise(edges):
            length = min(WINDOW, stop - start)
            last = stop - length
            cuts = range(start, last + 1, length)
            found += [Window(cut, cut + length, int(self.sequence[cut])) for cut in cuts]
        return tuple(found)

    def describe_windows(self) -> str:
        """Say which windows SRP and SCH are taken over."""
        lengths = [window.stop - window.start for window in self.windows]
        short = [length for length in lengths if length < WINDOW]
        parts = []
        if len(lengths) > len(short):
            parts.append(f"{len(lengths) - len(short)} of {WINDOW} tokens")
        if short:
            span = f"{min(short)}-{max(short)}" if min(short) < max(short) else f"{short[0]}"
            parts.append(f"{len(short)} whole, {span} tokens")
        left = len(self.stretch) - sum(lengths)
        rest = f"; {left} tokens past the last whole window are left out" if left else ""
        return f"{', '.join(parts)}{rest}"


def select(trace: Trace, phase: str) -> Routing:
    """Return the tokens of a phase of PHASES. Errors: InputError where the trace has none."""
    chosen = np.isin(trace.phase, PHASES[phase])
    if not chosen.any():
        raise InputError("--phase", f"the trace has no {phase} tokens", "allowed: all, prefill, decode")
    number, position = trace.sequence[chosen], trace.position[chosen].astype(np.int64)
    new_sequence = np.diff(number, prepend=number[0]) != 0
    broken = new_sequence | (np.diff(position, prepend=position[0] - 1) != 1)
    return Routing(
        experts=trace.experts[chosen],
        predicted=tuple(ids[chosen] for ids in trace.predicted),
        sequence=np.cumsum(new_sequence),
        stretch=np.cumsum(broken),
        n_experts=trace.header.n_experts,
    )
