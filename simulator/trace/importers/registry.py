"""The table of importers, and the one way to call them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path

from simulator.errors import InputError, did_you_mean
from simulator.trace.core import Trace
from simulator.trace.importers import (
    bigmoe,
    esft,
    flame_moe,
    gpt_oss,
    jsonl,
    llama_cpp,
    long_csv,
    megatron,
    npz,
    policylang,
    qwen15,
    routed_experts,
    sglang,
)
from simulator.trace.importers.model_name import named
from simulator.trace.importers.options import ImportOptions
from simulator.trace.importers.records import importer as records
from simulator.trace.importers.text import head
from simulator.trace.validate import validate

Reader = Callable[[Path, ImportOptions], Trace]


@dataclass(frozen=True, slots=True)
class Importer:
    """A reader, what it reads, the options that it takes (others are refused), and how it is recognised.

    ``sniff`` looks at the first bytes, or the names in a folder, and is true only where it is certain;
    without it the format must be named. A ``general`` format gives way to any other that is recognised.
    """

    read: Reader
    reads: str
    takes: frozenset[str]
    sniff: Callable[[Path], bool] | None = None
    general: bool = False


NAMES = frozenset({"model", "licence"})
RECORDED = "the source records phases"

IMPORTERS = {
    "bigmoe": Importer(bigmoe.read, "route CSV of BigMoeOnEdge", NAMES, bigmoe.sniff),
    "gpt-oss-json": Importer(
        gpt_oss.read_json,
        "fingerprint JSON, a file or a folder",
        NAMES | {"n_experts"},
        gpt_oss.sniff_json,
    ),
    "gpt-oss-npz": Importer(
        gpt_oss.read_npz,
        "npz of decoded tokens, ids/weights/seq/pos",
        NAMES | {"n_experts"},
        gpt_oss.sniff_npz,
    ),
    "esft": Importer(
        esft.read, "folder of expert_weights_LAYER.txt", NAMES | {"phase", "n_experts", "top_k"}, esft.sniff
    ),
    "qwen1.5-json": Importer(qwen15.read, "routes JSON, a file or a folder", NAMES, qwen15.sniff),
    "llama-cpp": Importer(llama_cpp.read, "CSV of our callback for llama.cpp", NAMES, llama_cpp.sniff),
    "flame-moe": Importer(
        flame_moe.read,
        "folder actives/iter_N of layer_NN.parquet",
        NAMES | {"phase", "n_experts"},
        flame_moe.sniff,
    ),
    "moe-policylang": Importer(
        policylang.read, "Parquet of its recorder", NAMES | {"phase", "n_experts"}, policylang.sniff
    ),
    "sglang": Importer(
        sglang.read, "per_token .pt of its expert-distribution recorder, or a folder", NAMES, sglang.sniff
    ),
    "routed-experts": Importer(
        routed_experts.read,
        "answers of SGLang or vLLM, JSON, JSONL or a folder",
        NAMES | {"phase", "n_experts", "top_k", "moe_layers", "zero_rows"},
        routed_experts.sniff,
    ),
    "megatron": Importer(
        megatron.read,
        "folder of router_trace_rankN.jsonl of Megatron-core",
        NAMES | {"phase", "n_experts"},
        megatron.sniff,
    ),
    "records": Importer(
        records.read,
        "JSON lines, CSV or Parquet, a record for each token and layer, or a folder",
        NAMES | {"phase", "n_experts", "moe_layers", "column", "zero_rows"},
        records.sniff,
        general=True,
    ),
    "npz": Importer(
        npz.read,
        "any npz, or npy of experts, axis order stated",
        NAMES | {"phase", "axes", "key", "n_experts", "moe_layers"},
    ),
    "csv": Importer(long_csv.read, "any CSV, a line for each expert", NAMES | {"phase", "key", "n_experts"}),
    "jsonl": Importer(jsonl.read, "JSON lines, a token each", NAMES | {"phase", "n_experts", "moe_layers"}),
}


def _known(path: Path) -> list[str]:
    return [name for name, one in IMPORTERS.items() if one.sniff and one.sniff(path)]


def _general(name: str) -> bool:
    return IMPORTERS[name].general


def sniff(path: Path) -> str:
    """Return the one format that certainly wrote ``path``. Errors: InputError (none, or several)."""
    if not path.exists():
        raise InputError(str(path), "no such file or folder")
    try:
        found = _known(path)
        if [*map(_general, found)] == [True] and path.is_dir():
            others = [name for file in path.iterdir() for name in _known(file) if not _general(name)]
            found = [] if others else found  # a folder of single files of that format
    except OSError as error:
        raise InputError(str(path), f"cannot be read ({error.strerror})") from error
    found = [name for name in found if not _general(name)] or found
    if not found and b'"architectures"' in head(path):
        raise InputError(
            str(path), "a model's configuration, no recording", "an experiment takes it as model:"
        )
    if len(found) != 1:
        what = "the format is not certain" if found else "no format is recognised"
        raise InputError(str(path), what, "name it with --format: " + ", ".join(found or IMPORTERS))
    return found[0]


def import_trace(
    path: str | os.PathLike[str], format_name: str | None = None, options: ImportOptions | None = None
) -> Trace:
    """Read and validate a trace that another tool recorded; without a format, in the one that is certain.

    Errors: InputError (unknown format, option that the format does not take, file that is absent
    or contradicts the format).
    """
    options = options or ImportOptions()
    format_name = format_name or ("records" if options.column else sniff(Path(path)))
    if format_name not in IMPORTERS:
        raise InputError("--format", f"unknown '{format_name}'", did_you_mean(format_name, IMPORTERS))
    reader = IMPORTERS[format_name]
    for option in fields(options):
        given = getattr(options, option.name)
        if given not in (None, {}) and option.name not in reader.takes:
            reason = RECORDED if option.name == "phase" else "the source says it"
            raise InputError(
                f"--{option.name.replace('_', '-')}", f"not for {format_name}: {reason}", "leave it out"
            )
    if not Path(path).exists():
        raise InputError(str(path), "no such file or folder", f"{format_name} reads: {reader.reads}")
    try:
        trace = reader.read(Path(path), options)
    except MemoryError as error:
        raise InputError(str(path), "needs more memory than there is", "cut it into parts") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            str(path), f"cannot be read ({error})", f"{format_name} reads: {reader.reads}"
        ) from error
    validate(trace)
    return replace(trace, header=named(trace.header))
