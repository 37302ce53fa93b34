"""The table of importers, and the one way to call them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

from simulator.errors import InputError, did_you_mean
from simulator.trace.core import Trace
from simulator.trace.importers import bigmoe, esft, gpt_oss, npz, qwen15
from simulator.trace.importers.options import ImportOptions
from simulator.trace.validate import validate

Reader = Callable[[Path, ImportOptions], Trace]


@dataclass(frozen=True, slots=True)
class Importer:
    """A reader, what it reads, and the options that it takes (others are refused)."""

    read: Reader
    reads: str
    takes: frozenset[str]


NAMES = frozenset({"model", "licence"})
RECORDED = "the source records phases"

IMPORTERS = {
    "bigmoe": Importer(bigmoe.read, "route CSV of BigMoeOnEdge", NAMES),
    "gpt-oss-json": Importer(
        gpt_oss.read_json, "fingerprint JSON, a file or a folder", NAMES | {"n_experts"}
    ),
    "gpt-oss-npz": Importer(
        gpt_oss.read_npz, "npz of decoded tokens, ids/weights/seq/pos", NAMES | {"n_experts"}
    ),
    "esft": Importer(
        esft.read, "folder of expert_weights_LAYER.txt", NAMES | {"phase", "n_experts", "top_k"}
    ),
    "qwen1.5-json": Importer(qwen15.read, "routes JSON, a file or a folder", NAMES),
    "npz": Importer(npz.read, "any npz, axis order stated", NAMES | {"phase", "axes", "key", "n_experts"}),
}


def import_trace(
    path: str | os.PathLike[str], format_name: str, options: ImportOptions | None = None
) -> Trace:
    """Read and validate a trace that another tool recorded.

    Errors: InputError (unknown format, option that the format does not take, file that is absent
    or contradicts the format).
    """
    options = options or ImportOptions()
    if format_name not in IMPORTERS:
        raise InputError("--format", f"unknown '{format_name}'", did_you_mean(format_name, IMPORTERS))
    importer = IMPORTERS[format_name]
    for option in fields(options):
        given = getattr(options, option.name)
        if given not in (None, {}) and option.name not in importer.takes:
            reason = RECORDED if option.name == "phase" else "the source says it"
            raise InputError(
                f"--{option.name.replace('_', '-')}", f"not for {format_name}: {reason}", "leave it out"
            )
    if not Path(path).exists():
        raise InputError(str(path), "no such file or folder", f"{format_name} reads: {importer.reads}")
    try:
        trace = importer.read(Path(path), options)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            str(path), f"cannot be read ({error})", f"{format_name} reads: {importer.reads}"
        ) from error
    validate(trace)
    return trace
