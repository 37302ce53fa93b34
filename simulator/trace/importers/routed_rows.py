"""What a value of ``routed_experts`` holds: lists, base64 of a whole .npy, or base64 of bare int32."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.errors import InputError
from simulator.trace.importers.limits import brief
from simulator.trace.importers.npy import FAULTS, HEADERS
from simulator.trace.importers.options import ImportOptions, shape

NPY_BASE64 = base64.b64encode(b"\x93NUMPY").decode()
ASK = "ask for it: --enable-return-routed-experts, and in SGLang's requests return_routed_experts"
Ints = npt.NDArray[Any]


def decode(value: Any, where: str, options: ImportOptions, n_rows: int | None) -> Ints:
    """Return experts [n, planes, k] of lists, of base64 of an .npy, or of bare int32."""
    if value is None:
        raise InputError(where, "no routed_experts", ASK)
    try:
        if isinstance(value, str):
            data = base64.b64decode(value, validate=True)
            experts = _npy(data) if value.startswith(NPY_BASE64) else _bare(data, options, n_rows)
        else:
            experts = np.array(value) if value else np.empty((0, 0, 0), dtype=np.int16)
    except FAULTS as error:
        raise InputError(where, f"routed_experts: {brief(str(error))}", "base64, or lists") from error
    if experts.ndim != 3 or experts.dtype.kind not in "iu":
        what = f"routed_experts are {experts.dtype} of shape {experts.shape}"
        raise InputError(where, what, "whole numbers [tokens, layers, k]")
    return experts


def _npy(data: bytes) -> Ints:
    """Return the array of an .npy. Errors: ValueError (objects, more than there is)."""
    file = io.BytesIO(data)
    size, by_columns, dtype = HEADERS[np.lib.format.read_magic(file)](file)
    values = np.frombuffer(data, dtype=dtype, offset=file.tell())
    return values.reshape(size, order="F" if by_columns else "C")


def _bare(data: bytes, options: ImportOptions, n_rows: int | None) -> Ints:
    """Return int32 by the model's layers and k, or by the number of rows and k."""
    values, model = np.frombuffer(data, dtype="<i4"), shape(options)
    k = options.top_k or (model.top_k if model else None)
    if k is None:
        raise InputError("--top-k", "missing", "base64 has no shape: give it, or a model of `list models`")
    if model is None and not n_rows:
        raise InputError(
            "--model", "missing", "neither base64 nor answer says how many layers: see `list models`"
        )
    return values.reshape(-1, model.n_model_layers, k) if model else values.reshape(n_rows or 0, -1, k)
