"""A part of a trace: some sequences, positions, phase, layers or columns of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator.errors import InputError
from simulator.trace.columns import Array, arrays_of
from simulator.trace.core import DECODE, MISSING, PREFILL, Trace, TraceHeader
from simulator.trace.edit import noted, with_columns, without
from simulator.trace.parts import take
from simulator.trace.ranges import Ranges
from simulator.trace.shapes import BY_LAYER

PHASES = {"prefill": PREFILL, "decode": DECODE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What to keep: tokens that meet every condition, layers by the model's numbers, and columns.

    ``drop`` names what goes, in the words of ``Trace.offers``. Sequences and positions keep their
    numbers.
    """

    sequences: Ranges | None = None
    positions: Ranges | None = None
    phase: str | None = None
    layers: Ranges | None = None
    drop: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Say what is kept, as the header's notes do."""
        ranges = {"sequences": self.sequences, "positions": self.positions, "layers": self.layers}
        said = [f"{name} {kept.text}" for name, kept in ranges.items() if kept]
        said += [f"{self.phase} only"] if self.phase else []
        said += [f"without {', '.join(self.drop)}"] if self.drop else []
        return ", ".join(said)


def cut(chunks: Iterable[Trace], choice: Cut, source: str) -> Iterator[Trace]:
    """Yield what is chosen of a trace's chunks; the header's notes say of which ``source``.

    Errors: InputError (nothing is chosen).
    """
    where, found = source, False
    for chunk in chunks:
        where = chunk.source
        part = take(chunk, _tokens(chunk, choice))
        if part.n_tokens:
            found = True
            yield _rows(part, choice, f"cut from {source}: {choice}")
    if not found:
        raise InputError(where, f"no token is in {choice}", "see what it holds: moesim trace info")


def _tokens(chunk: Trace, choice: Cut) -> Array:
    """Mark the tokens that meet every condition."""
    kept = np.ones(chunk.n_tokens, dtype=np.bool_)
    if choice.sequences:
        kept &= choice.sequences.mask(chunk.sequence)
    if choice.positions:
        kept &= choice.positions.mask(chunk.position)
    if choice.phase:
        kept &= chunk.phase == PHASES[choice.phase]
    return kept


def _rows(part: Trace, choice: Cut, note: str) -> Trace:
    """Keep the chosen layers and columns of some tokens."""
    arrays: dict[str, Any] = arrays_of(part)
    header = part.header.model_copy(update={"notes": noted(part.header.notes, note)})
    arrays = {name: arrays[name] for name in without(choice.drop, arrays)}
    if choice.layers:
        arrays, header = _layers(arrays, header, choice.layers)
    return with_columns(arrays, header, part.source)


def _layers(
    arrays: dict[str, Any], header: TraceHeader, layers: Ranges
) -> tuple[dict[str, Any], TraceHeader]:
    """Keep a run of neighbouring layers: predictions of layers past the new last one become -1."""
    chosen = np.flatnonzero(layers.mask(np.array(header.moe_layers)))
    if len(chosen) == 0 or (np.diff(chosen) != 1).any():
        numbers = ", ".join(map(str, header.moe_layers))
        raise InputError("--layers", f"'{layers.text}'", f"neighbouring MoE layers of {numbers}")
    run = slice(int(chosen[0]), int(chosen[-1]) + 1)
    kept = {name: array[:, run] if array.ndim == 3 else array for name, array in arrays.items()}
    for depth in range(1, 1 + sum(name.startswith("predicted_") for name in kept)):
        if (ahead := kept.get(f"predicted_{depth}")) is not None:
            ahead = ahead.copy()
            ahead[:, max(len(chosen) - depth, 0) :] = MISSING
            kept[f"predicted_{depth}"] = ahead
    fields = {name: getattr(header, name) for name in BY_LAYER}
    lists = {name: values[run] for name, values in fields.items() if values is not None}
    return kept, header.model_copy(update={"n_layers": len(chosen), **lists})
