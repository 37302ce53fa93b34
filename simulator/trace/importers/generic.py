"""What a header needs and a generic file does not say: from the options, or the model that they name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.errors import InputError
from simulator.trace.importers.options import ImportOptions, phases, shape

Phases = npt.NDArray[np.uint8]


def model_fields(
    where: str, options: ImportOptions, layers: Sequence[int] | int, reads: str
) -> dict[str, Any]:
    """Return the header's fields about the model, from its MoE layers' numbers or how many they are.

    Errors: InputError (an unknown number of experts, as many layers as the model does not have).
    """
    known = shape(options)
    n_experts = options.n_experts
    if n_experts is None and known:
        n_experts = known.n_experts
    if n_experts is None:
        hint = f"{reads} does not say how many experts a layer has; a model of `list models` does"
        raise InputError("--n-experts", "missing", hint)
    if not isinstance(layers, int) and options.moe_layers:
        raise InputError("--moe-layers", "the file numbers its layers itself", "leave it out")
    if isinstance(layers, int):
        named = options.moe_layers or (known.moe_layers if known else tuple(range(layers)))
        if len(named) != layers:
            source = "--moe-layers" if options.moe_layers else f"model {options.model}"
            raise InputError(where, f"{layers} layers", f"{source} has {len(named)}")
        layers = named
    return {
        "model": options.model or "unknown",
        "n_layers": len(layers),
        "n_experts": n_experts,
        "moe_layers": layers,
        "n_model_layers": known.n_model_layers if known else layers[-1] + 1,
        "licence": options.licence,
    }


def choose_phases(
    recorded: Phases | None, options: ImportOptions, sequence: npt.NDArray[np.int32]
) -> tuple[Phases, str]:
    """Return phases [T] and where they are from. Errors: InputError (no phases, or given twice)."""
    if (recorded is None) == (options.phase is None):
        has = "missing, and the file has no phases" if recorded is None else "the file has phases"
        raise InputError("--phase", has, "prefill, decode or split:N, for files without phases only")
    if recorded is not None:
        return recorded, "recorded"
    choice = str(options.phase)
    return phases(choice, sequence), f"teacher-forced, imported as {choice}"
