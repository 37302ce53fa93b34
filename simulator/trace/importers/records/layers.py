"""Numbers of layers that loggers count in their own way, and files that say the same twice."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from simulator.errors import InputError
from simulator.trace.importers.options import ImportOptions, shape
from simulator.trace.importers.records import tables, values
from simulator.trace.importers.records.roles import Columns


def as_the_model_numbers(layers: Sequence[int], model: str | None, where: str) -> tuple[list[int], list[str]]:
    """Return the model's own numbers of layers that were counted otherwise, and what to note of it.

    Loggers count from 1, or MoE layers alone. Errors: InputError (a layer beyond the model's last).
    """
    known = shape(ImportOptions(model=model))
    if known is None or set(layers) <= set(known.moe_layers):
        return list(layers), []
    if len(layers) == len(known.moe_layers):
        if [*layers] == [*range(len(layers))]:
            return list(known.moe_layers), ["layers were counted among MoE layers alone"]
        if [*layers] == [layer + 1 for layer in known.moe_layers]:
            return list(known.moe_layers), ["layers were counted from 1"]
    if layers[-1] >= known.n_model_layers:
        what = f"layer {layers[-1]} is beyond the {known.n_model_layers} layers of {known.model}"
        kept = f"--moe-layers {known.moe_layers[0]}-{known.moe_layers[-1]}"
        hint = f"one that predicts further tokens (MTP)? leave it out with {kept}"
        raise InputError(where, what, hint)
    return list(layers), []


def check_ranks(files: Sequence[tables.File], columns: Columns) -> None:
    """Refuse files of several ranks, which record the same requests. Errors: InputError."""
    for number, file in enumerate(files):
        for other in files[number + 1 :]:
            ranks = all(
                re.search(r"(rank|tp|ep|dp|gpu|worker)[-_]?[0-9]", one.path.name, re.IGNORECASE)
                for one in (file, other)
            )
            if file.rows == other.rows and (ranks or "sequence" in columns.names):
                names = f"{file.path.name} and {other.path.name}"
                hint = "ranks of one run record the same requests: import one of them"
                raise InputError(str(file.path.parent), f"the files {names} hold the same records", hint)


def layers_of_names(files: Sequence[tables.File], columns: Columns) -> dict[Path, int]:
    """Return layers by file where only the names tell: rows say no layer, or those of all files the same."""
    found = {file.path: layer for file in files if (layer := layer_of_name(file.path)) is not None}
    if "layer" not in columns.names:
        return found if len(found) == len(files) else {}
    said = {str(row.get(columns.names["layer"])) for file in files for row in file.rows}
    alike = len(said) == 1 and len(set(found.values())) == len(files) > 1
    return found if alike else {}


def layer_of_name(path: Path) -> int | None:
    """Return the layer that a file's name says, None where it says none."""
    match = values.LAYER.search(path.name)
    return int(match[1]) if match else None
