"""Which token each record belongs to: by position, by pass and position, or by order within its layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from simulator.errors import InputError
from simulator.trace.core import DECODE, PREFILL

Key = tuple[int, int, int]
"""Sequence, pass, position."""


@dataclass(slots=True)
class Record:
    """One token's routing in one layer, as recorded; what was not recorded is None."""

    place: str
    layer: int
    ids: list[Any] | None
    weights: list[Any] | None
    sequence: Hashable = None
    position: int | None = None
    step: int | None = None
    phase: int | None = None
    token_id: int | None = None


@dataclass(slots=True)
class Told:
    """Records with the token of each; ``phases`` are those that follow from passes, None where none do."""

    keys: list[Key]
    phases: dict[Key, int] | None
    notes: list[str] = field(default_factory=list)


def tell(records: Sequence[Record], where: str) -> Told:
    """Return the token of each record.

    A position that comes twice in a layer restarts with each pass; without one, the order within a layer
    is the position. Errors: InputError (rows are missing and nothing tells which, a record twice).
    """
    groups: dict[Hashable, list[int]] = {}
    for place, record in enumerate(records):
        groups.setdefault(record.sequence, []).append(place)
    keys: list[Key] = [(0, 0, 0)] * len(records)
    phases: dict[Key, int] = {}
    notes: list[str] = []
    passes_known, n_sequences = True, 0
    for group in groups.values():
        mine = [records[place] for place in group]
        steps = _steps(mine, where)
        if steps is None:
            tokens = [(0, _need(record)) for record in mine]
            n = 1
        else:
            tokens, starts = steps
            n = len(starts)
            if mine[0].sequence is None and n > 1:
                notes.append(f"positions restart: {n} sequences are told apart")
        firsts = [0] if steps is None else steps[1]
        for place, (step, position) in zip(group, tokens, strict=True):
            sequence = n_sequences + sum(step >= first for first in firsts[1:])
            keys[place] = (sequence, step, position)
        found = None if steps is None else _phases_of({keys[place] for place in group})
        passes_known = passes_known and found is not None
        phases |= found or {}
        n_sequences += n
    _check_once(records, keys, where)
    return Told(keys, phases if passes_known else None, list(dict.fromkeys(notes)))


def _steps(mine: Sequence[Record], where: str) -> tuple[list[tuple[int, int]], list[int]] | None:
    """Return (pass, place in it) of each record, and the passes in which sequences start.

    None where positions are unique within each layer, so that no pass is needed.
    """
    if mine[0].position is not None:
        if max(Counter((record.layer, record.position) for record in mine).values()) == 1:
            return None
        tokens = _restarts(mine)
    else:
        tokens = _ordinals(mine)
    _check_even(mine, tokens, where)
    sizes: dict[int, int] = {}
    for step, _ in set(tokens):
        sizes[step] = sizes.get(step, 0) + 1
    known = {step: record.phase for (step, _), record in zip(tokens, mine, strict=True)}
    starts = [min(sizes)]
    if mine[0].sequence is None and mine[0].position is not None:
        order = sorted(sizes)
        for before, step in pairwise(order):
            if known[step] is not None:
                new = known[step] == PREFILL and known[before] == DECODE
            else:
                new = sizes[step] > 1
            if new:
                starts.append(step)
    return tokens, starts


def _restarts(mine: Sequence[Record]) -> list[tuple[int, int]]:
    """Return (pass, position): a pass ends where a layer's position does not ascend."""
    last: dict[int, tuple[int, int, int | None]] = {}
    found = []
    for record in mine:
        position = _need(record)
        step, before, number = last.get(record.layer, (0, -1, record.step))
        if position <= before or record.step != number:
            step += 1
        last[record.layer] = (step, position, record.step)
        found.append((step, position))
    return found


def _ordinals(mine: Sequence[Record]) -> list[tuple[int, int]]:
    """Return (pass, place): the order within a layer, and within a pass where passes are numbered."""
    count: Counter[tuple[int, int | None]] = Counter()
    passes: dict[int | None, int] = {}
    found = []
    for record in mine:
        step = passes.setdefault(record.step, len(passes))
        found.append((step, count[record.layer, record.step]))
        count[record.layer, record.step] += 1
    return found


def _check_even(mine: Sequence[Record], tokens: Sequence[tuple[int, int]], where: str) -> None:
    """Refuse layers of different length: nothing tells which of their rows are missing."""
    by_layer: dict[int, set[tuple[int, int]]] = {}
    for record, token in zip(mine, tokens, strict=True):
        by_layer.setdefault(record.layer, set()).add(token)
    most = max(by_layer.values(), key=len)
    for layer, there in sorted(by_layer.items()):
        if len(there) < len(most):
            lacking = len(most) - len(there)
            what = f"layer {layer} lacks {lacking} of {len(most)} tokens, and nothing says which"
            raise InputError(where, what, "record each token's position, and name it: --column position=NAME")


def _phases_of(keys: set[Key]) -> dict[Key, int] | None:
    """Return phases by the sizes of passes: a prompt in passes of several tokens, then steps of one.

    None where they are mixed: then a pass may hold several requests, and its size tells nothing.
    """
    sizes: dict[tuple[int, int], int] = {}
    for sequence, step, _ in keys:
        sizes[sequence, step] = sizes.get((sequence, step), 0) + 1
    first_single: dict[int, int] = {}
    for (sequence, step), size in sorted(sizes.items()):
        if size == 1:
            first_single.setdefault(sequence, step)
        elif sequence in first_single:
            return None
    if any(sequence not in first_single for sequence, _ in sizes):
        return None
    return {key: DECODE if key[1] >= first_single[key[0]] else PREFILL for key in keys}


def _need(record: Record) -> int:
    if record.position is None:
        raise InputError(record.place, "no position", "a position in each record, or in none")
    return record.position


def _check_once(records: Sequence[Record], keys: Sequence[Key], where: str) -> None:
    seen: dict[tuple[Key, int], int] = {}
    for number, (record, key) in enumerate(zip(records, keys, strict=True)):
        other = seen.setdefault((key, record.layer), number)
        if other != number:
            what = f"the same token and layer as {records[other].place.removeprefix(where).strip()}"
            hint = "each token once in a layer; are these the files of several ranks? import one"
            raise InputError(record.place, what, hint)
