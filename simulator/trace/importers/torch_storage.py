"""Storages of torch.save, and the tensors that are views of them: every bound is checked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.trace.importers.torch_zip import TorchZip

BFLOAT16 = "torch BFloat16Storage"  # numpy has no such type: read as the upper halves of float32
STORAGES = {
    "torch DoubleStorage": "<f8",
    "torch FloatStorage": "<f4",
    "torch HalfStorage": "<f2",
    BFLOAT16: "<u2",
    "torch LongStorage": "<i8",
    "torch IntStorage": "<i4",
    "torch ShortStorage": "<i2",
    "torch CharStorage": "<i1",
    "torch ByteStorage": "<u1",
    "torch BoolStorage": "?",
}
MOST_AXES = 8


@dataclass(frozen=True, slots=True)
class Storage:
    """The items [n] of a storage, all of one type."""

    items: npt.NDArray[Any]


def read_storage(file: TorchZip, name: str, key: str, n_items: int) -> Storage:
    """Return a storage of a class in ``STORAGES``. Errors: InputError (missing, or another length)."""
    items = file.storage(key, np.dtype(STORAGES[name]), n_items)
    return Storage((items.astype("<u4") << 16).view("<f4") if name == BFLOAT16 else items)


def view(storage: Storage, offset: Any, size: Any, stride: Any) -> npt.NDArray[Any]:
    """Return the tensor of a storage. Errors: ValueError (outside the storage, larger than it)."""
    items, numbers = storage.items, (offset, *size, *stride)
    axes_fit = len(size) == len(stride) <= MOST_AXES
    if not axes_fit or not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError("a tensor without a shape")
    n_items = math.prod(size)
    if not n_items:
        return np.empty(size, dtype=items.dtype)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if n_items > items.size or last >= items.size:
        raise ValueError("a tensor that does not fit its storage")
    steps = [step * items.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(items[offset:], size, steps, writeable=False)
