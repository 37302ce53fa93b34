"""Tables of rows to dense arrays: which token and layer each row belongs to, in any order of layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.errors import InputError
from simulator.trace.importers.limits import check_size

Ints = npt.NDArray[np.integer[Any]]
MOST = int(np.iinfo(np.int32).max)
CELL_BYTES = 16  # of a slot of the dense array while it is filled


@dataclass(frozen=True, slots=True)
class Grid:
    """The T tokens and L layers of N rows: ``token`` and ``column`` [N] say which each row belongs to.

    ``sequence`` and ``position`` are [T], ``layers`` [L] the numbers of the layers in ascending order,
    ``first`` [T] a row of each token.
    """

    where: str
    sequence: npt.NDArray[np.int32]
    position: npt.NDArray[np.int32]
    layers: tuple[int, ...]
    first: Ints
    token: Ints
    column: Ints

    def dense(
        self, values: npt.NDArray[Any], fill: int, k: int = 1, slot: Ints | int = 0
    ) -> npt.NDArray[Any]:
        """Return values as [T, L, k], ``fill`` where there is no row.

        ``values`` are [N, k], or [N, 1] with a slot < k for each row. Errors: InputError (a row or a slot
        twice, an array that is too large).
        """
        n_layers, width = len(self.layers), values.shape[1]
        n_cells = len(self.sequence) * n_layers * k
        check_size(self.where, n_cells * width * CELL_BYTES)
        cell = (self.token * n_layers + self.column) * k + slot
        times = np.bincount(cell)
        if times.max() > 1:
            token, layer = divmod(int(times.argmax()) // k, n_layers)
            name = f"sequence {self.sequence[token]} position {self.position[token]}"
            what = f"{name} layer {self.layers[layer]}: the same row or slot twice"
            raise InputError(self.where, what, "each slot of a token's layer once")
        array = np.full((n_cells, width), fill, dtype=values.dtype)
        array[cell] = values
        return array.reshape(len(self.sequence), n_layers, k * width)

    def slots(self) -> Ints:
        """Return each row's place [N] among the rows of its token and layer, in the order of the table."""
        keys = self.token * len(self.layers) + self.column
        order = np.argsort(keys, kind="stable")
        grouped = keys[order]
        starts = np.concatenate([[True], grouped[1:] != grouped[:-1]])
        index = np.arange(len(keys))
        slot = np.empty_like(index)
        slot[order] = index - np.maximum.accumulate(np.where(starts, index, 0))
        return slot

    def of_tokens(self, values: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
        """Return a token's values [T] of those [N] of its rows. Errors: InputError (rows that differ)."""
        found: npt.NDArray[Any] = values[self.first]
        bad = values != found[self.token]
        if bad.any():
            token = self.token[int(bad.argmax())]
            place = f"sequence {self.sequence[token]} position {self.position[token]}"
            raise InputError(self.where, f"{place}: {name} differs between its rows", "one value a token")
        return found


def grid(where: str, sequence: Ints, position: Ints, layer: Ints) -> Grid:
    """Return where rows of (sequence, position, layer), each [N], belong.

    Layers may come in any order, also one after the other for all tokens; within a layer tokens come in
    order. Errors: InputError (no rows, negative numbers, tokens out of order).
    """
    if not len(layer):
        raise InputError(where, "no routed tokens", "a trace has at least one")
    for name, values in (("sequence", sequence), ("position", position), ("layer", layer)):
        if values.min() < 0 or values.max() > MOST:
            raise InputError(where, f"{name} from {values.min()} to {values.max()}", f"allowed: 0..{MOST}")
    layers, column = np.unique(layer, return_inverse=True)
    keys = (sequence.astype(np.int64) << 32) | position
    by_layer = np.argsort(column, kind="stable")
    ordered, same = keys[by_layer], np.diff(column[by_layer]) == 0
    back = same & (ordered[1:] < ordered[:-1])
    if back.any():
        row = by_layer[int(back.argmax()) + 1]
        place = f"sequence {sequence[row]} position {position[row]} layer {layer[row]}"
        raise InputError(where, f"{place}: comes after a later token", "tokens of each layer in order")
    tokens, first, token = np.unique(keys, return_index=True, return_inverse=True)
    return Grid(
        where,
        sequence=(tokens >> 32).astype(np.int32),
        position=(tokens & MOST).astype(np.int32),
        layers=tuple(layers.tolist()),
        first=first,
        token=token.reshape(-1),
        column=column.reshape(-1),
    )
