"""Records of one token in one layer: told by the names of their columns, joined to tokens, checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from simulator.errors import InputError
from simulator.trace.core import Trace
from simulator.trace.header import build_header
from simulator.trace.importers.arrays import Row, as_int32, dense_rows, weights_kind
from simulator.trace.importers.generic import choose_phases, model_fields
from simulator.trace.importers.limits import brief
from simulator.trace.importers.options import ImportOptions, index_in_sequence
from simulator.trace.importers.records import tables, values, wrong
from simulator.trace.importers.records.layers import (
    as_the_model_numbers,
    check_ranks,
    layer_of_name,
    layers_of_names,
)
from simulator.trace.importers.records.roles import Columns, plain, tell
from simulator.trace.importers.records.rows import records_of, with_tokens, with_width
from simulator.trace.importers.records.tokens import Key, Record
from simulator.trace.importers.records.tokens import tell as tell_tokens
from simulator.trace.importers.suspicions import check_ids, check_recording, without_zero_rows
from simulator.trace.importers.text import left_out

FACTS = {
    "model": ("model_id", "model", "model_name", "model_path"),
    "n_experts": ("num_experts", "n_experts", "n_routed_experts", "num_local_experts", "experts_per_layer"),
    "top_k": ("top_k", "topk", "experts_per_token", "num_experts_per_tok", "n_experts_per_token"),
}  # fmt: skip
"""What lines without records may say, by the names that producers use."""


def sniff(path: Path) -> bool:
    """Tell whether a file, or one of a folder, has a layer and what it chose in each record."""
    try:
        return any(map(_is_recording, tables.files_of(path)))
    except OSError:
        return False


def _is_recording(file: Path) -> bool:
    try:
        first = _beginning(file)
        columns = tell(str(file), first.names(), {})
    except (InputError, OSError, UnicodeDecodeError):
        return False
    known = "layer" in columns.names or layer_of_name(file) is not None
    return bool(first.rows) and known and (_has_experts(columns) or bool(wrong.said_instead(columns)))


def read(path: Path, options: ImportOptions) -> Trace:
    """Return the trace of a file, or of a folder of them."""
    where = str(path)
    paths = [*tables.files_of(path)]
    chosen = [file for file in paths if len(paths) == 1 or options.column or _is_recording(file)]
    left = sorted(file.name for file in path.iterdir() if file not in chosen) if path.is_dir() else []
    files = [file for file in (tables.read(one, options.column.values()) for one in chosen) if file.rows]
    if not files:
        raise InputError(where, "no records", "a record for each token and layer: JSON lines, CSV or Parquet")
    facts = {name: value for file in files for name, value in file.facts.items()}
    names = list(dict.fromkeys(name for file in files for name in file.names()))
    columns = tell(where, names, options.column)
    facts |= _same_in_all(files, columns)
    by_name = layers_of_names(files, columns)
    _check_columns(where, columns, by_name)
    rows_of_all = [row for file in files for row in file.rows]
    columns = with_tokens(with_width(columns, rows_of_all), rows_of_all)
    wrong.check_counts(where, rows_of_all, columns)
    check_ranks(files, columns)
    wrong.check_repeated(where, rows_of_all, columns)
    records = [
        record
        for number, file in enumerate(files)
        for record in records_of(
            file, columns, number if len(files) > 1 and not by_name else None, by_name.get(file.path)
        )
    ]
    told = tell_tokens(records, where)
    layers = sorted({record.layer for record in records})
    if options.moe_layers:
        layers = [layer for layer in layers if layer in options.moe_layers]
    model = options.model or _text_fact(facts, "model")
    named, shifted = as_the_model_numbers(layers, model, where)
    order = sorted(set(told.keys))
    index = {key: number for number, key in enumerate(order)}
    rows: list[dict[int, Row]] = [{} for _ in order]
    of_token: dict[Key, Record] = {}
    weighed, unweighed = wrong.weights_known(records)
    for record, key in zip(records, told.keys, strict=True):
        of_token.setdefault(key, record)
        if record.ids is not None and record.layer in layers:
            rows[index[key]][record.layer] = (
                record.ids,
                record.weights if weighed else [0.0] * len(record.ids),
            )  # type: ignore[assignment]  # checked by dense_rows
    experts, weights = dense_rows(rows, layers, where)
    experts = without_zero_rows(experts, options)
    check_recording(experts, layers, where)
    sequence = as_int32(np.array([key[0] for key in order], dtype=np.int64), "sequence", where)
    positions = np.array([key[2] for key in order], dtype=np.int64)
    restarted = len({key[:1] + key[2:] for key in order}) < len(order) or any(key[1] for key in order)
    position = index_in_sequence(sequence) if restarted else as_int32(positions, "position", where)
    phase, source = _phases(order, of_token, told.phases, options, sequence)
    token_ids = [token_id for key in order if (token_id := of_token[key].token_id) is not None]
    n_experts = options.n_experts or _fact(facts, "n_experts") or (len(columns.ids) if columns.wide else None)
    stated = _fact(facts, "top_k")
    if stated and stated != experts.shape[2]:
        raise InputError(where, f"{experts.shape[2]} experts a token", f"the file says top_k {stated}")
    given = ImportOptions(model=model, n_experts=n_experts, licence=options.licence)
    header = build_header(
        where,
        **model_fields(where, given, named, "a record"),
        top_k=experts.shape[2],
        weights=weights_kind(experts, weights, where) if weighed else "none",
        phase_source=source,
        recorder=f"unknown (records, {path.name})",
        notes="; ".join(filter(None, [*told.notes, *shifted, *unweighed, left_out(left)])),
    )
    check_ids(experts, header.n_experts, where)
    return Trace(
        header,
        sequence,
        position,
        phase,
        experts,
        weights if weighed else None,
        token_id=as_int32(np.array(token_ids, dtype=np.int64), "token_id", where)
        if len(token_ids) == len(order)
        else None,
        source=where,
    )


def explain(path: Path, options: ImportOptions) -> Iterator[tuple[str, str]]:
    """Yield each column of a file with what it is taken for."""
    file = tables.read(next(iter(tables.files_of(path))), options.column.values())
    columns = with_width(tell(str(path), file.names(), options.column), file.rows)
    columns = with_tokens(columns, file.rows)
    taken = {theirs: ours for ours, theirs in columns.names.items()}
    kind = "weight of expert" if columns.wide else "chosen expert"
    taken |= {name: f"{kind} {place}" for place, name in enumerate(columns.ids)}
    taken |= {name: f"weight of chosen expert {place}" for place, name in enumerate(columns.weights)}
    for name in file.names():
        yield name, taken.get(name, "not used")
    for name, value in file.facts.items():
        ours = next((word for word, known in FACTS.items() if plain(name) in known), None)
        if ours:
            yield f"{name} = {brief(value)}", ours


def _beginning(path: Path) -> tables.File:
    """Return the first records of a file, cheaply: what sniffing looks at."""
    from simulator.trace.importers.parquet_columns import names_of
    from simulator.trace.importers.text import head

    if names := names_of(path):
        return tables.File(path, rows=[dict.fromkeys(names)], places=[""])
    first = head(path)
    if first.startswith(b"\x1f\x8b"):
        return tables.read(path)
    return tables.beginning(path, first)


def _has_experts(columns: Columns) -> bool:
    return "experts" in columns.names or bool(columns.ids) or "expert" in columns.names


def _check_columns(where: str, columns: Columns, by_name: Mapping[Path, int]) -> None:
    """Refuse what has no layer or no experts, and what has something else instead. Errors: InputError."""
    instead = wrong.said_instead(columns)
    if instead:
        raise InputError(where, *instead)
    for ours in ("layer", "experts"):
        known = _has_experts(columns) if ours == "experts" else ours in columns.names or by_name
        if not known:
            seen = ", ".join(f"'{brief(name)}'" for name in columns.unused[:8])
            raise InputError(
                where, f"no column is known as {ours}", f"say which of {seen} with --column {ours}=NAME"
            )


def _phases(
    order: Sequence[Key],
    of_token: Mapping[Key, Record],
    by_pass: Mapping[Key, int] | None,
    options: ImportOptions,
    sequence: Any,
) -> tuple[Any, str]:
    """Return phases: recorded, else as the option says, else by the sizes of passes."""
    recorded = [of_token[key].phase for key in order]
    if None not in recorded:
        return choose_phases(np.array(recorded, dtype=np.uint8), options, sequence)
    if options.phase is None and by_pass is not None and len({key[1] for key in order}) > 1:
        return np.array([by_pass[key] for key in order], dtype=np.uint8), "told by the sizes of passes"
    return choose_phases(None, options, sequence)


def _same_in_all(files: Sequence[tables.File], columns: Columns) -> dict[str, Any]:
    """Return what unused columns say of the model, the same in each record."""
    known = {word for words in FACTS.values() for word in words}
    found: dict[str, Any] = {}
    for name in columns.unused:
        if plain(name) in known:
            said = {str(row.get(name)): row.get(name) for file in files for row in file.rows}
            if len(said) == 1:
                found[name] = next(iter(said.values()))
    return found


def _fact(facts: Mapping[str, Any], ours: str) -> int | None:
    return next(
        (n for name, value in facts.items() if plain(name) in FACTS[ours] and (n := values.whole(value))),
        None,
    )


def _text_fact(facts: Mapping[str, Any], ours: str) -> str | None:
    return next(
        (value for name, value in facts.items() if plain(name) in FACTS[ours] and isinstance(value, str)),
        None,
    )
