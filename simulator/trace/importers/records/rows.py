"""Rows of a table to records: the chosen experts of a token in a layer, whatever cells they are in."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from simulator.errors import InputError
from simulator.trace.core import MISSING
from simulator.trace.importers.limits import brief
from simulator.trace.importers.records import tables, values
from simulator.trace.importers.records.roles import Columns, plain
from simulator.trace.importers.records.tokens import Record

WIDE = 17
"""So many numbered columns are all experts of a layer with their weights, not the chosen ones' ids."""


def with_width(columns: Columns, rows: Sequence[tables.Row]) -> Columns:
    """Say whether numbered columns are all experts of a layer: weights and zeros are no different ids."""
    wide = len(columns.ids) >= WIDE
    for row in rows:
        if wide or not columns.ids:
            break
        cells = [row.get(name) for name in columns.ids]
        wide = len(set(map(str, cells))) < len(cells) or any(values.whole(cell) is None for cell in cells)
    return replace(columns, wide=wide)


def records_of(
    file: tables.File, columns: Columns, number: int | None, layer: int | None
) -> Iterator[Record]:
    """Yield the records of a file; rows of one expert each are joined."""
    names = columns.names
    joined: dict[tuple[Any, ...], Record] = {}
    for row, place in zip(file.rows, file.places, strict=True):
        try:
            record = _record(row, place, columns, number, layer)
        except ValueError as error:
            raise InputError(place, brief(str(error)), "see moesim trace import --explain") from None
        if record is None:
            continue
        if "expert" not in names or "experts" in names:
            yield record
            continue
        key = (record.sequence, record.step, record.position, record.layer)
        first = joined.setdefault(key, record)
        if first is not record:
            first.ids = [*(first.ids or []), *(record.ids or [])] or None
            first.weights = None if first.weights is None else first.weights + (record.weights or [])
    yield from joined.values()


def _record(
    row: Mapping[str, Any], place: str, columns: Columns, number: int | None, layer: int | None
) -> Record | None:
    names = columns.names
    if row.get(names.get("layer", "")) in (None, ""):
        return None
    ids, weights = _chosen(row, columns)
    sequence = row.get(names["sequence"]) if "sequence" in names else None
    key = sequence if number is None else (number, sequence)
    phase = row.get(names["phase"]) if "phase" in names else None
    return Record(
        place,
        values.layer(row[names["layer"]]) if layer is None else layer,
        ids,
        weights,
        sequence=str(key) if key is not None else None,
        position=values.whole(row.get(names["position"])) if "position" in names else None,
        step=values.whole(row.get(names["pass"])) if "pass" in names else None,
        phase=None if phase in (None, "") else values.phase(phase, plain(names["phase"])),
        token_id=values.whole(row.get(names["token_id"])) if "token_id" in names else None,
    )


def _chosen(row: Mapping[str, Any], columns: Columns) -> tuple[list[Any] | None, list[Any] | None]:
    """Return the chosen experts of a record and their weights; None where it has none."""
    names = columns.names
    if columns.ids:
        cells = values.numbers(
            [row.get(name) if row.get(name) not in (None, "") else 0 for name in columns.ids]
        )
        assert cells is not None
        if columns.wide:
            return _of_wide(cells)
        weighed = [row.get(name) for name in columns.weights]
        return cells, values.numbers(weighed) if weighed else None
    cell = row.get(names.get("experts", names.get("expert", "")))
    both = values.pairs(cell)
    if both is not None:
        return both[0], both[1] or None
    ids = values.numbers(cell)
    weight = names.get("weights", names.get("weight"))
    weights = values.numbers(row.get(weight)) if weight else None
    if ids is not None and all(one == MISSING for one in ids):
        return None, None
    return ids, weights


def _of_wide(cells: Sequence[float]) -> tuple[list[Any] | None, list[Any] | None]:
    """Return the experts with a weight, the weightiest first; flags have no weights."""
    chosen = [place for place, weight in enumerate(cells) if weight and not math.isnan(weight)]
    chosen.sort(key=lambda place: (-cells[place], place))
    if not chosen:
        return None, None
    flags = all(cells[place] == 1 for place in chosen) and len(chosen) > 1
    return chosen, None if flags else [cells[place] for place in chosen]
