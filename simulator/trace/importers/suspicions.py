"""Recordings that are known to be wrong, told from right ones by what engines get wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from simulator.errors import InputError, did_you_mean
from simulator.trace.core import MISSING, Ids
from simulator.trace.importers.options import ImportOptions

CHOICES = ("missing",)
ZERO = "--zero-rows missing takes rows of zeros as not recorded"


def without_zero_rows(experts: Ids, options: ImportOptions) -> Ids:
    """Return experts [T, L, k] with rows of zeros as missing ones, where the options say so.

    Errors: InputError (another word than ``missing``).
    """
    if options.zero_rows is None:
        return experts
    if options.zero_rows not in CHOICES:
        raise InputError("--zero-rows", f"'{options.zero_rows}'", did_you_mean(options.zero_rows, CHOICES))
    return np.where(_zeros(experts)[:, :, None], np.int16(MISSING), experts)


def check_recording(experts: Ids, layers: Sequence[int], where: str) -> None:
    """Refuse routing [T, L, k] that no model has, and say what the engine did. Errors: InputError."""
    zeros = _zeros(experts)
    there: npt.NDArray[np.bool_] = np.logical_not((experts == MISSING).all(axis=2))
    if not there.any():
        raise InputError(where, "no routing: every row is missing", "the engine has captured nothing")
    if not zeros.any() or experts.shape[2] == 1:
        _check_flat(experts, there, where)
        return
    if (zeros == there).all():
        what = "every expert is 0: the engine has captured nothing"
        raise InputError(
            where, what, "a fused kernel never calls its hook; record with the unfused one, or eagerly"
        )
    empty: npt.NDArray[np.bool_] = np.asarray((zeros | ~there).all(axis=0))
    if empty[1:].all() and len(empty) > 1 and not empty[0]:
        what = f"only layer {layers[0]} of {len(layers)} has routing, the others are 0 throughout"
        raise InputError(
            where, what, "the engine wrote all layers to the first slot: update it, and record again"
        )
    if empty.any():
        what = f"layer {layers[int(empty.argmax())]} of {len(layers)} is 0 throughout: a dense layer?"
        raise InputError(where, what, "say which are MoE layers with --moe-layers or --model")
    tokens: npt.NDArray[np.bool_] = np.asarray(zeros.any(axis=1))
    n, first = int(tokens.sum()), int(np.flatnonzero(~tokens)[0]) if (~tokens).any() else len(tokens)
    if first == n and zeros[:n].all():
        what = f"the first {n} tokens are 0 in every layer: the prompt was not captured"
        raise InputError(where, what, ZERO)
    raise InputError(where, f"{n} of {len(tokens)} tokens have rows of zeros, an expert several times", ZERO)


def check_ids(experts: Ids, n_experts: int, where: str) -> None:
    """Refuse ids beyond the experts of a layer, with what they may be. Errors: InputError."""
    if (most := int(experts.max())) >= n_experts:
        hint = "physical ids of replicated experts? record logical ones; else --n-experts or --model is wrong"
        raise InputError(where, f"holds expert {most}; allowed: 0..{n_experts - 1}", hint)


def _zeros(experts: Ids) -> npt.NDArray[np.bool_]:
    """Return which rows [T, L] are 0 throughout, which no choice of several experts is."""
    found: npt.NDArray[np.bool_] = (experts == 0).all(axis=2)
    return found


def _check_flat(experts: Ids, there: npt.NDArray[np.bool_], where: str) -> None:
    """Refuse routing in which every token of every layer has the same experts. Errors: InputError."""
    rows = experts[there]
    if len(rows) > 64 and (rows == rows[0]).all():
        what = f"all {len(rows)} rows are the same: {', '.join(map(str, rows[0][:8]))}"
        raise InputError(where, what, "the engine has repeated one buffer; record again")
