"""Records that hold several: an object with all layers of a token, a pass with all tokens of a layer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from simulator.trace.importers.records import values
from simulator.trace.importers.records.roles import ROLES, Columns, plain

Row = dict[str, Any]
CHOSEN = {*ROLES["experts"], *ROLES["weights"]}
LAYER_KEY = re.compile(r"[0-9]{1,4}|l_?[0-9]{1,4}", re.IGNORECASE)
OF_TOKENS = ("weights", "position", "token_id", "sequence", "phase")
"""What may be a list with an entry for each token, beside the experts."""


def layers(value: Row) -> list[Row]:
    """Return a record for each layer of an object that has lists, or objects, by layer; else the object."""
    if any(is_layer(name) and not isinstance(cell, (dict, list)) for name, cell in value.items()):
        return [value]
    listed = next((name for name, cell in value.items() if _has_layers(cell)), None)
    if listed is not None:
        rest = {name: cell for name, cell in value.items() if name != listed}
        return [rest | one for one in value[listed]]
    by_layer = {name: cell for name, cell in value.items() if _is_by_layer(cell)}
    rest = {name: cell for name, cell in value.items() if name not in by_layer}
    rows = []
    for key in dict.fromkeys(key for cells in by_layer.values() for key in cells):
        row = rest | {"layer": key}
        for name, cells in by_layer.items():
            cell = cells.get(key)
            if isinstance(cell, dict) and not all(str(one).isdigit() for one in cell):
                row |= cell
            elif cell is not None:
                row[name if plain(name) in CHOSEN else "experts"] = cell
        rows.append(row)
    return rows or [value]


def tokens(row: Row, columns: Columns) -> Iterator[Row]:
    """Yield a row for each token of one that has lists of chosen experts [tokens, k]; else the row.

    Errors: ValueError (another number of weights or positions than of tokens).
    """
    names = columns.names
    ids = names.get("experts", "")
    chosen = values.matrix(row.get(ids))
    if chosen is None:
        yield row
        return
    of_token: dict[str, list[Any]] = {ids: [*chosen]}
    for ours in OF_TOKENS:
        cell = row.get(names.get(ours, ""))
        if cell in (None, "") or (ours in ("sequence", "phase") and not isinstance(cell, list)):
            continue
        found = values.rows(cell) if ours == "weights" else values.listed(cell)
        if found is None or len(found) != len(chosen):
            n = 1 if found is None else len(found)
            raise ValueError(f"{n} of {names[ours]} for {len(chosen)} tokens; one a token, or none")
        of_token[names[ours]] = [*found]
    for place in range(len(chosen)):
        yield row | {name: cells[place] for name, cells in of_token.items()}


def is_layer(name: str) -> bool:
    """Tell whether a column is known as the layer's."""
    return plain(name) in ROLES["layer"]


def _has_layers(cell: Any) -> bool:
    return (
        isinstance(cell, list)
        and bool(cell)
        and all(isinstance(one, dict) and any(map(is_layer, one)) for one in cell)
    )


def _is_by_layer(cell: Any) -> bool:
    """Tell whether all keys of an object are layers, and its values lists or objects, or null."""
    return (
        isinstance(cell, dict)
        and any(isinstance(one, (list, dict)) for one in cell.values())
        and all(one is None or isinstance(one, (list, dict)) for one in cell.values())
        and all(LAYER_KEY.fullmatch(str(key)) or values.LAYER.search(str(key)) for key in cell)
    )
