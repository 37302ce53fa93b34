"""What an import may be told, because the source does not say it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from simulator.errors import InputError
from simulator.trace.core import DECODE, PREFILL


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """Options of an import; a format takes some of them and refuses the others.

    ``phase`` is ``prefill``, ``decode`` or ``split:N`` (the first N tokens of each sequence are
    prefill), for sources that do not record it. ``axes`` names the axes of generic arrays in
    order; ``key`` maps our names to those of the arrays in the file. ``model``, ``n_experts``,
    ``top_k``, ``moe_layers`` (numbers of the model's MoE layers) and ``licence`` say what the source
    leaves out, or correct what we assume. Where ``model`` is one of moesim's models, the rest follows
    from it: see ``shape``. ``column`` maps our names to those of a record's columns; ``zero_rows: missing``
    takes rows of zeros as not recorded.
    """

    phase: str | None = None
    axes: tuple[str, ...] | None = None
    key: Mapping[str, str] = field(default_factory=dict)
    model: str | None = None
    n_experts: int | None = None
    top_k: int | None = None
    moe_layers: tuple[int, ...] | None = None
    licence: str | None = None
    column: Mapping[str, str] = field(default_factory=dict)
    zero_rows: str | None = None


def phases(choice: str, sequence: npt.NDArray[np.int32]) -> npt.NDArray[np.uint8]:
    """Return the phase [T] of teacher-forced tokens. Errors: InputError (not one of the three forms)."""
    if choice in ("prefill", "decode"):
        return np.full(len(sequence), PREFILL if choice == "prefill" else DECODE, dtype=np.uint8)
    split = re.fullmatch(r"split:(\d+)", choice)
    if not split:
        raise InputError(
            "--phase", f"'{choice}'", "allowed: prefill, decode, split:N (N prompt tokens a sequence)"
        )
    return np.where(index_in_sequence(sequence) < int(split[1]), PREFILL, DECODE).astype(np.uint8)


def index_in_sequence(sequence: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Return each token's index [T] from the start of its (contiguous) sequence."""
    index = np.arange(len(sequence))
    starts = np.concatenate([[True], sequence[1:] != sequence[:-1]])
    return (index - np.maximum.accumulate(np.where(starts, index, 0))).astype(np.int32)


def parse_layers(text: str) -> tuple[int, ...]:
    """Return the layers of ``1-26`` or ``1,3,5-7``. Errors: InputError (anything else, or not ascending)."""
    layers: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,5})(?:-(\d{1,5}))?\s*", part)
        if not match:
            raise InputError(
                "--moe-layers", f"'{text}'", "numbers and ranges in order, such as 1-26 or 1,3,5"
            )
        layers += range(int(match[1]), int(match[2] or match[1]) + 1)
    if not layers or sorted(set(layers)) != layers:
        raise InputError("--moe-layers", f"'{text}'", "numbers and ranges in order, such as 1-26 or 1,3,5")
    return tuple(layers)


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a model's routing, as a source that does not state them needs them."""

    model: str
    n_model_layers: int
    moe_layers: tuple[int, ...]
    n_experts: int
    top_k: int


def shape(options: ImportOptions) -> Shape | None:
    """Return the sizes of ``options.model`` where that is one of moesim's models, else None."""
    from simulator.model.load import load_model
    from simulator.trace.importers.model_name import ours

    name = None if options.model is None else ours(options.model)
    if name is None:
        return None
    spec = load_model(name)
    return Shape(spec.name, spec.n_model_layers, tuple(spec.moe_layers), spec.n_experts, spec.top_k)
