"""A trace without what was said: no token ids, no word on prompts, experts perhaps renumbered."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from simulator.trace.columns import arrays_of, from_arrays
from simulator.trace.core import MISSING, Ids, Trace, TraceHeader
from simulator.trace.parts import renumbered


def anonymise(chunks: Iterable[Trace], seed: int | None = None) -> Iterator[Trace]:
    """Yield chunks without token ids, prompt source and notes; sequences are numbered 0, 1, ...

    With a ``seed`` the experts of each layer are renumbered by a random permutation, predictions
    and best gates with them. That changes no count of reuse, hit or transfer: moesim knows experts
    apart, not by number. What remains: lengths of sequences and phases, gate weights, what the
    recording engine did, and routing itself, from which a public model's user can infer tokens; who
    knows the model can undo a permutation by how often experts are used.
    """
    notes = "anonymised: no token ids, prompts or notes, sequences renumbered"
    notes += "" if seed is None else ", experts of each layer permuted"
    for chunk in renumbered(chunks):
        arrays = arrays_of(chunk)
        arrays.pop("token_id", None)
        if seed is not None:
            maps = _permutations(chunk.header, seed)
            for name in arrays:
                if name in ("experts", "gate_top"):
                    arrays[name] = _renamed(arrays[name], maps)
                elif match := re.fullmatch(r"predicted_(\d+)", name):
                    arrays[name] = _renamed(arrays[name], np.roll(maps, -int(match[1]), axis=0))
        header = chunk.header.model_copy(update={"prompt_source": None, "notes": notes})
        yield from_arrays(arrays, header, chunk.source)


def _permutations(header: TraceHeader, seed: int) -> Ids:
    """Return the new number of each expert [L, E + 1]; the last entry, for -1, is -1."""
    rng = np.random.default_rng(seed)
    numbers = np.tile(np.arange(header.n_experts, dtype=np.int16), (header.n_layers, 1))
    missing = np.full((header.n_layers, 1), MISSING, dtype=np.int16)
    return np.concatenate([rng.permuted(numbers, axis=1), missing], axis=1)


def _renamed(ids: Ids, maps: npt.NDArray[np.int16]) -> Ids:
    """Return ids [T, L, n] under the maps [L, E + 1] of their layers."""
    return maps[np.arange(len(maps))[:, None], ids]
