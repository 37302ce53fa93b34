"""JSON lines, a token each: ``{"position": 7, "phase": "decode", "experts": {"1": [3, 0]}}``.

``experts`` is an object of lists by the model's number of a layer, or a list of lists, one for each MoE
layer, null where nothing was recorded. Optional, but then in every line: ``weights`` (of the same
form), ``sequence`` (one sequence if absent), ``position`` (counted from 0 if absent), ``phase``
(prefill or decode; else the option says) and ``token_id``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from simulator.errors import InputError, did_you_mean
from simulator.trace.core import DECODE, PREFILL, Trace
from simulator.trace.header import build_header
from simulator.trace.importers.arrays import Row, dense_rows, layer_number, token_columns, weights_kind
from simulator.trace.importers.generic import choose_phases, model_fields
from simulator.trace.importers.limits import TEXT_EXPANSION, brief, check_file
from simulator.trace.importers.options import ImportOptions, index_in_sequence
from simulator.trace.importers.text import lines, parse_json

NUMBERS = ("sequence", "position", "token_id")
KEYS = {"experts", "weights", "phase", *NUMBERS}
PHASES = {"prefill": PREFILL, "decode": DECODE}


def read(path: Path, options: ImportOptions) -> Trace:
    """Return the trace of a file. Needs ``n_experts`` or a known ``model``, and ``phase`` if it has none."""
    where = str(path)
    check_file(path, TEXT_EXPANSION)
    tokens: list[dict[int, Row]] = []
    numbers: list[tuple[Any, ...]] = []
    phase_words: list[int] = []
    first: dict[str, Any] = {}
    for count, line in enumerate(lines(path), start=1):
        place = f"{where} line {count}"
        token = _token(parse_json(line, place), first, place)
        first = first or token
        tokens.append(_rows(token, place))
        numbers.append(tuple(token[name] for name in NUMBERS if name in token))
        if "phase" in token:
            phase_words.append(_phase(token["phase"], place))
    named = isinstance(first.get("experts"), dict)
    layers = sorted({layer for token in tokens for layer in token})
    if not named and tokens:
        layers = list(range(max(len(first["experts"]), 1)))
    experts, weights = dense_rows(tokens, layers, where)
    columns = dict(
        zip([name for name in NUMBERS if name in first], token_columns(numbers, where), strict=True)
    )
    sequence = columns.get("sequence", np.zeros(len(tokens), dtype=np.int32))
    recorded = np.array(phase_words, dtype=np.uint8) if phase_words else None
    phase, source = choose_phases(recorded, options, sequence)
    header = build_header(
        where,
        **model_fields(where, options, layers if named else len(layers), "a JSONL"),
        top_k=experts.shape[2],
        weights=weights_kind(experts, weights, where) if "weights" in first else "none",
        phase_source=source,
        recorder=f"unknown (jsonl {path.name})",
    )
    return Trace(
        header,
        sequence,
        columns.get("position", index_in_sequence(sequence)),
        phase,
        experts,
        weights if "weights" in first else None,
        token_id=columns.get("token_id"),
        source=where,
    )


def _token(token: Any, first: dict[str, Any], place: str) -> dict[str, Any]:
    """Return a line's object, having checked that it has the keys and the form of the first line."""
    if not isinstance(token, dict) or "experts" not in token:
        raise InputError(place, "no object with 'experts'", 'a token a line: {"experts": [[3, 0], [1, 2]]}')
    for key in token:
        if key not in KEYS:
            raise InputError(place, f"unknown key '{brief(key)}'", did_you_mean(brief(key), KEYS))
    if first and token.keys() != first.keys():
        raise InputError(
            place, "other keys than in line 1", "the same in every line: " + ", ".join(sorted(first))
        )
    form = type(token["experts"])
    if form not in (list, dict) or form is not type(first.get("experts", token["experts"])):
        raise InputError(place, f"experts is {brief(token['experts'])}", "an object, or a list, as in line 1")
    if form is list and first and len(token["experts"]) != len(first["experts"]):
        raise InputError(place, f"{len(token['experts'])} layers", f"{len(first['experts'])}, as in line 1")
    return token


def _rows(token: dict[str, Any], place: str) -> dict[int, Row]:
    """Return (experts, weights) by layer; weights are 0 where there are none."""
    experts = _by_layer(token["experts"], place)
    weights = _by_layer(token["weights"], place) if "weights" in token else None
    if weights is not None and weights.keys() != experts.keys():
        raise InputError(place, "weights of other layers than experts", "both of each layer")
    return {layer: (ids, weights[layer] if weights else [0.0] * len(ids)) for layer, ids in experts.items()}


def _by_layer(rows: Any, place: str) -> dict[int, list[Any]]:
    """Return the lists of a token by number of layer, those that are null left out."""
    named = isinstance(rows, dict)
    try:
        items = ((layer_number(name), row) for name, row in rows.items()) if named else enumerate(rows)
        found = {layer: row for layer, row in items if row is not None}
    except (TypeError, ValueError) as error:
        raise InputError(place, brief(str(error)), "lists by number of layer") from error
    for layer, row in found.items():
        if not isinstance(row, list):
            raise InputError(place, f"layer {layer}: {brief(row)}", "a list of numbers")
    return found


def _phase(word: Any, place: str) -> int:
    """Return the code of a phase. Errors: InputError (another word)."""
    if not isinstance(word, str) or word not in PHASES:
        raise InputError(place, f"phase {brief(word)}", "allowed: prefill, decode")
    return PHASES[word]
